"""Modes of files and folders. They are set explicitly, because a group may write new files under many umasks.

Everybody who may write a file that the project reads can change the recommendations. So only the owner writes. Members
of the group may read the files in ``data/``, apart from the warehouse, the locks and keys.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

OWNER_FILE = 0o600  # locks, keys, the warehouse, and files with user ids outside ``data/``
GROUP_FILE = 0o640  # files in ``data/``
PUBLIC_FILE = 0o644  # settings, definitions and reports about codes, which name no user
SEALED_FILE = 0o444  # published files, which never change; the mode of ``data/`` keeps others out
OWNER_FOLDER = 0o700
GROUP_FOLDER = 0o750
PUBLIC_FOLDER = 0o755

_HIDDEN = re.compile(r"\..+\.[0-9a-f]{16}\.tmp", re.DOTALL)
_CLOSED = 0o027  # umask: the group may not write, others may nothing
_UMASK_LOCK = threading.Lock()
_umasks: list[int] = []  # the umask before each block of `closed_umask` that is open


def make_folder(folder: Path, mode: int = GROUP_FOLDER) -> None:
    """Create a folder and missing folders above it with this mode; leave a folder that exists as it is."""
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=OWNER_FOLDER)
        inherited = folder.stat().st_mode & stat.S_ISGID  # a folder's group passes on to new folders with this bit
        folder.chmod(mode | inherited)
        return
    if not folder.is_dir():
        raise NotADirectoryError(20, os.strerror(20), str(folder))


def set_mode(descriptor: int, mode: int) -> None:
    """Set the mode of an open file, if it has another one."""
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != mode:
        os.fchmod(descriptor, mode)


def hidden_name(path: Path) -> Path:
    """Return an unpredictable name beside ``path`` for a temporary file or folder. The name begins with a dot."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")


def is_hidden_name(name: str) -> bool:
    """Tell whether a name is one that :func:`hidden_name` gives."""
    return _HIDDEN.fullmatch(name) is not None


def create_file(path: Path, mode: int = OWNER_FILE) -> int:
    """Create a new empty file and return its descriptor; FileExistsError for an existing file or link."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


@contextlib.contextmanager
def closed_umask() -> Iterator[None]:
    """Let no file that a library creates inside the block be written by the group or read by others.

    The umask belongs to the process. So the last block that ends restores the umask from before the first block.
    """
    with _UMASK_LOCK:
        before = os.umask(_CLOSED)
        os.umask(before | _CLOSED)
        _umasks.append(before)
    try:
        yield
    finally:
        with _UMASK_LOCK:
            first = _umasks[0]
            _umasks.pop()
            if not _umasks:
                os.umask(first)
