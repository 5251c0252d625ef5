"""Device, compiler and memory of the machine that trains a model or computes recommendation lists."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

import torch

from semconv.errors import MachineError, SettingsError

KERNEL_LIMITS: Final = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


def require_compiler(device: str) -> None:
    """Raise SettingsError if torch has no compiler for the device."""
    if device == "cuda":
        if find_spec("triton") is None:
            raise SettingsError(
                "recommend.compile = true needs triton on a GPU; install triton, or set recommend.compile = false"
            )
        return
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")  # as torch chooses it
    if shutil.which(name) is None:
        raise SettingsError(
            f"recommend.compile = true needs the C++ compiler {name}; install it, name another compiler in the environment variable CXX, or set recommend.compile = false"
        )


@contextlib.contextmanager
def compiler_errors() -> Iterator[None]:
    """Turn a failure of torch's compiler into a MachineError, for example if the headers of Python are missing."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        message = next(filter(None, map(str.strip, str(error).splitlines())), type(error).__name__)[:200]
        raise MachineError(
            f"the model cannot be compiled here ({message}); run again with recommend.compile = false"
        ) from error


def limit_kernels() -> None:
    """Let oneDNN, and torch's interface to it, keep 64 kernels in memory instead of 1,024 each.

    An environment variable that names another number stays as it is.

    On a CPU with bfloat16 instructions, a kernel fits one shape, and nearly every batch has a new shape. So the memory of a
    process would grow with each batch: by 25 MB with each step of a training of SmolLM2-135M. Every layer of a batch
    uses the same kernels, and 64 are enough for these. The numbers are read once, when the first kernel is made.
    """
    for name in KERNEL_LIMITS:
        os.environ.setdefault(name, "64")


def lists_device() -> str:
    """Return the device that computes recommendation lists on this machine, either ``cuda`` or ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"
