"""Folders that many tests start from, each made once in a test run, whichever process of it comes first."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

# Environment variables, which the processes of a test run inherit.
_FOLDER, _FIRST_PROCESS = "SEMCONV_TESTS_MADE_ONCE", "SEMCONV_TESTS_PROCESS"


def begin_test_run() -> Path | None:
    """Choose the folder of this test run; None in a process that another one of the same run started."""
    if _FOLDER in os.environ:
        return None
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="semconv-tests-")
    os.environ[_FIRST_PROCESS] = str(os.getpid())
    return Path(os.environ[_FOLDER])


def is_test_run_over() -> bool:
    """Return whether the first process of the test run has ended."""
    try:
        os.kill(int(os.environ[_FIRST_PROCESS]), 0)
    except ProcessLookupError:
        return True
    return False


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder of this name; ``make`` gets a path that does not exist yet and fills it.

    Tests only read the folder or copy it.
    """
    of_run = Path(os.environ[_FOLDER])
    folder, done = of_run / name, of_run / f"{name}.done"
    with (of_run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # left by a test that failed while it made the folder
            make(folder)
            done.touch()
    return folder


def short_name(*words: object) -> str:
    """Return a name for a folder that differs for different words, whatever characters they hold."""
    return hashlib.sha256(repr(words).encode()).hexdigest()[:12]
