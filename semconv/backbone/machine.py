"""What a machine has for the search: its device, and what compiles a decoder there."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import torch

from semconv.errors import MachineError, SettingsError


def require_compiler(device: str) -> None:
    """SettingsError where torch would find nothing to compile with on a device."""
    if device == "cuda":
        if find_spec("triton") is None:
            raise SettingsError("recommend.compile = true needs triton on a GPU; install it, or set it to false")
        return
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")  # what torch itself looks for
    if shutil.which(name) is None:
        raise SettingsError(
            f"recommend.compile = true needs the C++ compiler {name}; install it, name another in CXX, or set it to false"
        )


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """MachineError where the compiler fails, as without the headers of Python."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        said = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)[:200]
        raise MachineError(
            f"the model cannot be compiled here ({said}); run again with recommend.compile = false"
        ) from error


def lists_device() -> str:
    """Where lists are computed on this machine."""
    return "cuda" if torch.cuda.is_available() else "cpu"
