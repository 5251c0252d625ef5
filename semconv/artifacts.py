"""Read and write the files of a run.

Arrays are stored as safetensors and everything else as JSON, never as pickle. A file is first written under a temporary
name, then synced to disk and renamed. So a killed process never leaves half a file under the final name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import mmap
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from semconv.errors import InputError, MachineError
from semconv.modes import GROUP_FILE, OWNER_FOLDER, create_file, hidden_name, make_folder, set_mode

UNFINISHED = ".*.tmp*"  # names of files that no process has finished writing
_CHECKSUM, _SOURCE = "checksum", "source"  # entries of files that are built again if they are damaged
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_DTYPES = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8", "F32": "<f4", "F64": "<f8"}  # fmt: skip
# The folder must go first, because a finished run is reused as long as its folder exists.
_REPEAT = "remove the folder of its run and repeat it, with `semconv run --refit` if lists were made from it"
_OS_ERROR = re.compile(r"\(os error (\d+)\)")  # in the messages of safetensors


@contextlib.contextmanager
def machine_errors(path: Path) -> Iterator[None]:
    """Raise a MachineError that names the path if the disk is full or read-only, or a permission is missing."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        found = _OS_ERROR.search(str(error))
        number = error.errno if isinstance(error, OSError) and error.errno else int(found.group(1)) if found else 0
        if number in _FULL:
            raise MachineError(
                f"{path}: no space left on the device; free some space and run the same command again"
            ) from error
        if number in _FORBIDDEN:
            raise MachineError(
                f"{path}: cannot be written ({os.strerror(number)}); check the owner and mode of the folder"
            ) from error
        raise


@contextlib.contextmanager
def atomic_path(path: Path, mode: int = GROUP_FILE) -> Iterator[Path]:
    """Yield a new empty file beside ``path``. On success it gets ``mode`` and the name ``path``; else it is removed.

    The new file is locked, which tells the file of a living process from that of a killed one (:func:`is_being_written`).
    Every file of a project is written through this function, or through :func:`private_path` and :func:`commit` if its
    writer must create the file itself.
    """
    with machine_errors(path):
        make_folder(path.parent)
        temporary = hidden_name(path)
        descriptor = create_file(temporary)
        try:
            with contextlib.suppress(OSError):  # some file systems have no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield temporary
            commit(temporary, path, mode)
        finally:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def private_path(path: Path) -> Iterator[Path]:
    """Yield the path of a file that does not exist yet, in a new folder beside ``path``. Remove the folder afterwards.

    It is for writers that create their file themselves, such as DuckDB. Only the owner can open the folder, so nobody
    else can place a link or a write-ahead log in it.
    """
    make_folder(path.parent)
    folder = hidden_name(path)
    folder.mkdir(mode=OWNER_FOLDER)
    try:
        # Not the name of `path`, because commands find databases and parts by their names.
        yield folder / f"new{path.suffix}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def commit(temporary: Path, path: Path, mode: int = GROUP_FILE) -> None:
    """Set the mode of a complete file, sync it, rename it to ``path`` and sync the folder, in this order."""
    descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        set_mode(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)
    sync_folder(path.parent)


def is_being_written(temporary: Path) -> bool:
    """Tell whether a living process writes a temporary file of :func:`atomic_path`."""
    try:
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ELOOP)  # removed meanwhile, or a link, which nobody writes here
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def sync_folder(folder: Path) -> None:
    """Sync a folder to the disk, so that a rename in the folder survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes left, including the WAL files of databases.

    Only a process that holds the folder's lock may call this function.
    """
    with machine_errors(folder):
        for path in sorted(folder.rglob(UNFINISHED)):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that it contains; a missing one is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, mode: int = GROUP_FILE) -> None:
    """Write a file completely or not at all."""
    with atomic_path(path, mode) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, completely or not at all."""
    write_bytes(path, json.dumps(value, indent=1, sort_keys=True, default=str).encode())


def read_json(path: Path) -> Any:
    """Read JSON; raise InputError if the file is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; {_REPEAT}") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); {_REPEAT}") from error


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file; raise InputError if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], mode: int = GROUP_FILE) -> None:
    """Write named arrays as safetensors."""
    write_bytes(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}), mode)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read named arrays; raise InputError if the file is missing or damaged."""
    try:
        return dict(load_file(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; {_REPEAT}") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); {_REPEAT}") from error


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Map the named arrays of a safetensors file into memory. Only the pages that are used are read from disk.

    Changes to the arrays stay in this process.

    Raises:
        InputError: the file is missing, truncated or not a safetensors file.
    """
    try:
        with path.open("rb") as stream:
            pages = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        begin = 8 + int.from_bytes(pages[:8], "little")
        header = json.loads(pages[8:begin])
        header.pop("__metadata__", None)
        arrays = {
            name: np.frombuffer(pages, _DTYPES[entry["dtype"]], math.prod(entry["shape"]), begin + entry["data_offsets"][0])
            .reshape(entry["shape"])
            for name, entry in header.items()
        }  # fmt: skip
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; {_REPEAT}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); {_REPEAT}") from error
    return arrays


def write_rebuilt_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], source: bytes = b"") -> None:
    """Write named arrays with their own checksum, for a file that is built again if it is missing or damaged.

    Args:
        source: digest of the data from which the arrays were computed. ``map_rebuilt_arrays`` compares it.
    """
    whole = {**arrays, _SOURCE: np.frombuffer(source, dtype=np.uint8)}
    write_arrays(path, {**whole, _CHECKSUM: np.array([_crc(whole)], dtype=np.uint32)})


def map_rebuilt_arrays(path: Path, meaning: str, source: bytes | None = None) -> dict[str, NDArray[Any]]:
    """Map the arrays that ``write_rebuilt_arrays`` wrote into memory.

    Args:
        meaning: what the file holds, for messages.

    Raises:
        InputError: the file is missing or no such file, has changed since it was written, or has another ``source``.
    """
    arrays = map_arrays(path)
    again = "delete the file, and the next run builds it again"
    if not {_CHECKSUM, _SOURCE} <= arrays.keys():
        missing = next(name for name in (_CHECKSUM, _SOURCE) if name not in arrays)
        raise InputError(f"{path}: not a {meaning} ({missing!r} is missing); {again}")
    expected = arrays.pop(_CHECKSUM)
    if len(expected) != 1 or _crc(arrays) != int(expected[0]):
        raise InputError(f"{path}: the checksum does not match; {again}")
    if source is not None and arrays[_SOURCE].tobytes() != source:
        raise InputError(f"{path}: the {meaning} was built from other data; {again}")
    del arrays[_SOURCE]
    return arrays


def _crc(arrays: Mapping[str, NDArray[Any]]) -> int:
    value = 0
    for name in sorted(arrays):
        value = zlib.crc32(np.ascontiguousarray(arrays[name]).data, zlib.crc32(name.encode(), value))
    return value
