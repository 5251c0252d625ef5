"""Every change that a command makes to a project's files, and the moments at which a kill is tried."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("writes.c")


def compile_library(folder: Path) -> Path:
    """Compile the library with which a server of commands sees every change; skip the test without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("writes below Python are seen through a small C library, and no C compiler is installed")
    library = folder / "writes.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl", "-lpthread"], check=True)
    return library


def kill_points(writes: Sequence[str]) -> list[int]:
    """Return the numbers, from 1, of the changes before which a command is killed.

    A change is a file or folder that is created, written, truncated, renamed, linked or removed. Of consecutive writes to
    one file, the command is killed before the first and in the middle: the file is then empty, or half written. Changes
    of locks and modes do not count, and the removal of a temporary file that was just renamed removes nothing.
    """
    points = []
    before = ""
    for change, group in groupby(enumerate(writes, 1), key=lambda pair: pair[1]):
        numbers = [number for number, _ in group]
        operation, _, path = change.partition(" ")
        is_nothing = operation == "unlink" and before == "rename" and path.endswith(".tmp")
        if operation != "chmod" and not path.endswith("/lock") and not is_nothing:
            is_run = operation == "write" and len(numbers) > 2
            points += [numbers[0], numbers[len(numbers) // 2]] if is_run else [numbers[0]]
        before = operation
    return points
