"""What a machine has for the search: its device, and what compiles a decoder there."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

import torch

from semconv.errors import SettingsError

_COMPILERS = ("g++", "clang++", "c++")


def require_compiler(device: str) -> None:
    """SettingsError where torch would find nothing to compile with on a device."""
    if device == "cuda":
        if find_spec("triton") is None:
            raise SettingsError("recommend.compile = true needs triton on a GPU; install it, or set it to false")
    elif not any(shutil.which(name) for name in filter(None, (os.environ.get("CXX"), *_COMPILERS))):
        raise SettingsError(
            "recommend.compile = true needs a C++ compiler (g++ or clang++) on this machine; install one, or set it to false"
        )


def lists_device() -> str:
    """Where lists are computed on this machine."""
    return "cuda" if torch.cuda.is_available() else "cpu"
