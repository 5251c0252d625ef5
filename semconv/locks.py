"""Lock a folder, so that only one process works in it.

A lock is an flock on a file in the folder. The kernel frees it when the process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from semconv.artifacts import machine_errors
from semconv.errors import LockedError
from semconv.modes import OWNER_FILE, make_folder, set_mode

LOCK = "lock"  # the file in a folder that a process holds locked while it works there
# Seconds that other processes retry to get a lock, because `is_locked` holds it for a moment.
_LOOK_SECONDS = 0.2
_PAUSES = (0.01, 0.5)  # seconds between two attempts to get a lock: the first pause, and the longest one


@contextlib.contextmanager
def run_lock(folder: Path, *, wait: float = 0.0, work: str = "") -> Iterator[None]:
    """Hold the lock of a folder during the ``with`` block.

    The kernel frees the lock when the process ends, so a killed job never leaves a lock behind.

    Args:
        wait: seconds to keep trying while another process holds the lock.
        work: what is done in the block, for a folder that belongs to no run. The error message of a process that finds
            the folder locked begins with it.

    Raises:
        LockedError: another process still holds the lock after ``wait`` seconds. The message names its PID.
    """
    deadline, pause = time.monotonic() + max(wait, _LOOK_SECONDS), _PAUSES[0]
    while (descriptor := _locked(folder)) is None:
        if time.monotonic() >= deadline:
            pid, others_work = _held_by(folder)
            held = others_work or work or f"{folder.name} is being computed"
            what_next = (
                f"tried for {wait:g} s; stop it or wait longer (--wait SECONDS)"
                if wait
                else "stop it or use --wait SECONDS"
            )
            raise LockedError(f"{held} by process {pid or 'unknown'}; {what_next}", pid)
        time.sleep(min(pause, max(deadline - time.monotonic(), 0.0)))
        pause = min(2 * pause, _PAUSES[1])
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} {work}".encode())
        yield
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> int | None:
    """Lock a folder and return the descriptor of its lock file, or None if another process holds the lock."""
    path, descriptor = folder / LOCK, None
    with contextlib.suppress(BlockingIOError, FileNotFoundError), machine_errors(path):
        make_folder(folder)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, OWNER_FILE)
        with contextlib.suppress(PermissionError):  # the lock of another user
            set_mode(descriptor, OWNER_FILE)  # who can open a lock can also hold it, and so stall the jobs that need it
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # `semconv prune` may have removed the folder since the lock file was opened.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    if descriptor is not None:
        os.close(descriptor)
    return None


def is_locked(folder: Path) -> bool:
    """Return whether a living process holds the lock of a run folder."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def lock_holder(folder: Path) -> int | None:
    """Return the PID that the lock file contains, or None if it contains none."""
    return _held_by(folder)[0]


def _held_by(folder: Path) -> tuple[int | None, str]:
    """Return the PID and the work that the lock file of a folder names; no PID and no work if it is not readable."""
    try:
        pid, _, work = (folder / LOCK).read_text().partition(" ")
        return int(pid), work
    except (FileNotFoundError, PermissionError, ValueError):
        return None, ""
