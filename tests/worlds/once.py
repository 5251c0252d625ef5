"""Folders that many tests start from, each made once."""

from __future__ import annotations

import atexit
import fcntl
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


class MadeOnce:
    """Makes a folder when the first test asks for it, for all processes of a test run. Tests only read or copy it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the folder of this name; ``make`` gets a path that does not exist yet and fills it."""
        folder, done = self._folder / name, self._folder / f"{name}.done"
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # left by a test that failed while it made the folder
                make(folder)
                done.touch()
        return folder


def scratch_folder() -> Path:
    """Return a new folder that lasts as long as this process."""
    folder = Path(tempfile.mkdtemp(prefix="semconv-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
