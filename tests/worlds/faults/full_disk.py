"""A small disk that is full, and a command that writes to it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.worlds.command import Commands, Done
from tests.worlds.faults.writing_commands import (
    Case,
    copied,
    leftovers,
    served,
    state,
    warehouse,
)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", *options, folder], capture_output=True).returncode:
        pytest.skip("this needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def fill(folder: Path, free: int) -> Path:
    """Fill the disk except for some bytes."""
    disk = os.statvfs(folder)
    filler = folder / "filler"
    filler.write_bytes(bytes(max(disk.f_bavail * disk.f_frsize - free, 0)))
    return filler


def require_one_line(done: Done) -> None:
    assert done.status == 5, (done.status, done.stderr)
    assert done.error.startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr


def require_full_disk_is_survived(commands: Commands, case: Case, folder: Path, free: int) -> None:
    """Run a command with so many bytes free: it ends with 5 and changes nothing, and with more room it ends as undisturbed."""
    with mounted(folder, "-t", "tmpfs", "-o", "size=32m", "tmpfs") as disk:
        root = copied(case.root, disk / "project")
        filler = fill(disk, free)
        done = commands.run(root, *case.words)
        if done.status == 0 and free:  # the command needed less
            assert state(root) == case.after
            return
        require_one_line(done)
        assert "space" in done.error, done.error
        assert served(root) == case.before["served"]
        assert warehouse(root) == case.before["warehouse"]
        filler.unlink()
        again = commands.run(root, *case.words)
        assert again.status == 0, again.stderr
        assert state(root) == case.after
        assert leftovers(root) == []
