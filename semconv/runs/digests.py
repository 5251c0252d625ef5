"""Checksums of the files of finished runs. The checksums reveal any damage to a file, even a single flipped bit.

``complete.json`` in a run folder marks the run as complete and contains the SHA-256 of the run's files. Code that
changes a file of a complete run on purpose does so inside :func:`replacing_file`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from semconv.artifacts import atomic_path, file_digest, machine_errors, read_json, write_json
from semconv.errors import InputError
from semconv.runs.files import COMPLETE, Kind, is_part, kind_of, part_files, run_files

_FILES = "files"  # key of the checksums in complete.json
_REPLACING = "replacing"  # key of the checksums of new contents, while files are being replaced
_SHOWN = 3  # largest number of damaged files that a message names


def write_complete(folder: Path, **facts: Any) -> None:
    """Mark a run as complete: write ``complete.json`` with ``facts`` and the checksums of the files in the folder."""
    digests = {name: file_digest(path) for name, path in run_files(folder).items() if _has_checksum(name)}
    write_json(folder / COMPLETE, {**facts, _FILES: digests})


def read_complete(folder: Path) -> dict[str, Any]:
    """Return the content of ``complete.json``, or nothing if the file is missing or damaged (an incomplete run)."""
    path = folder / COMPLETE
    try:
        content = read_json(path) if path.exists() else {}
    except InputError:
        return {}
    return content if isinstance(content, dict) and isinstance(content.get(_FILES), dict) else {}


def is_complete(folder: Path) -> bool:
    """Return whether a run is marked as complete and has all its files; do not verify their checksums."""
    return bool(read_complete(folder)) and all((folder / name).exists() for name in _expected(folder))


def damaged_files(folder: Path, name: str = "") -> list[str]:
    """Return the files of a complete run that are missing or whose checksum does not match.

    Args:
        name: a file or a subfolder to which the check is limited; empty for all files.
    """
    inside = f"{name}/" if name else ""
    expected = {file: digests for file, digests in _expected(folder).items() if file == name or file.startswith(inside)}
    return sorted(file for file, digests in expected.items() if not _has_digest(folder / file, digests))


def discard_damaged(folder: Path) -> list[str]:
    """Delete damaged files, mark the run as incomplete, and return the names of the damaged files.

    The next command that needs the run recomputes it from the intact files. The caller must hold the folder's lock.
    """
    damaged = damaged_files(folder)
    with machine_errors(folder):
        for name in damaged:
            (folder / name).unlink(missing_ok=True)
        if damaged:  # deleted last: until then, the checksums still tell which files are damaged
            (folder / COMPLETE).unlink()
    return damaged


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a temporary path for the new content of a file of a run, then replace the file and its checksum.

    The new checksum is recorded beside the old one before the file is replaced. So after a kill at any moment the file
    has one of two recorded checksums, and :func:`settle_checksums` can tell which. A file that was damaged before keeps
    its old checksum, so it still counts as damaged.
    """
    was_intact = _has_digest(path, _expected(path.parent).get(path.name, ()))
    with atomic_path(path) as temporary:
        yield temporary
        if was_intact:
            content = read_complete(path.parent)
            replacing = {**content.get(_REPLACING, {}), path.name: file_digest(temporary)}
            write_json(path.parent / COMPLETE, {**content, _REPLACING: replacing})
    if was_intact:
        settle_checksums(path.parent)


def settle_checksums(folder: Path) -> None:
    """Finish what a killed :func:`replacing_file` began: record the checksums of the files that it replaced."""
    content = read_complete(folder)
    replacing = content.pop(_REPLACING, {})
    if replacing:
        new = {name: digest for name, digest in replacing.items() if _has_digest(folder / name, (digest,))}
        write_json(folder / COMPLETE, {**content, _FILES: {**content[_FILES], **new}})


def require_parts(folder: Path) -> None:
    """Verify the part files (top-k lists) of a run folder, and delete damaged ones so that the run can be resumed.

    Raises:
        InputError: the run is not marked as complete, or a file is missing, damaged or not listed in ``complete.json``.
    """
    way_out = "nothing was published; to recompute them, repeat `semconv run` or the command that made these lists"
    if not read_complete(folder):
        raise InputError(f"{folder / COMPLETE}: missing or damaged, so the lists cannot be verified; {way_out}")
    expected = {name: digests for name, digests in _expected(folder).items() if is_part(name)}
    found = {path.name for path in part_files(folder)}
    damaged = sorted(name for name in {*expected, *found} if not _has_digest(folder / name, expected.get(name, ())))
    for name in damaged:
        with machine_errors(folder / name):
            (folder / name).unlink(missing_ok=True)
    if damaged:
        shown = ", ".join(damaged[:_SHOWN])
        raise InputError(
            f"{folder}: {len(damaged)} of {len(expected)} parts are damaged or missing ({shown}); {way_out}"
        )


def require_file(path: Path) -> None:
    """Verify the checksum of one file of a run; raise InputError if the file is missing or damaged."""
    if damaged_files(path.parent, path.name):
        raise InputError(f"{path}: missing or damaged (its checksum does not match); repeat the command that wrote it")


def _has_checksum(name: str) -> bool:
    return kind_of(name) in (Kind.RESULT, Kind.TRAINING_STATE)


def _expected(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the valid checksums of a complete run's files, without those of deleted training states.

    A file has one valid checksum, or two while it is being replaced.
    """
    content = read_complete(folder)
    digests: dict[str, str] = content.get(_FILES, {})
    replacing: dict[str, str] = content.get(_REPLACING, {})
    return {
        name: (digest, *([replacing[name]] if name in replacing else []))
        for name, digest in digests.items()
        if kind_of(name) is not Kind.TRAINING_STATE or (folder / name).exists()
    }


def _has_digest(path: Path, digests: Collection[str]) -> bool:
    try:
        return bool(digests) and file_digest(path) in digests
    except InputError:  # missing or unreadable
        return False
