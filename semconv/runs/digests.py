"""What a finished run says of its files: ``complete.json`` with the SHA-256 of each, by which a flipped bit is found.

Whoever changes a file of a finished run and means it says so, with :func:`changing`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semconv.artifacts import file_digest, machine_errors, read_json, write_json
from semconv.errors import InputError

COMPLETE = "complete.json"
# What a killed training goes on from, or one whose model was damaged; a prune takes it away once the run is finished.
TRAINING_STATES = ("checkpoint.safetensors", "best.safetensors", "dccf.safetensors")
# A trie has a checksum of its own and is built again.
_NOT_OF_THE_RUN = ("lock", COMPLETE, "trie.safetensors")
_TO_LOOK_AT = (".svg", ".jsonl")  # nothing is computed from them
_PARTS = "part-*.parquet"
_FILES, _OLD_FILES = "files", "parts"  # runs of before said the digests of their parts alone


def say_complete(folder: Path, **facts: Any) -> None:
    """Say that a run is complete, with the digests of the files that it left."""
    write_json(folder / COMPLETE, {**facts, _FILES: digests_of(folder)})


def said(folder: Path) -> dict[str, Any]:
    """What a finished run says of its folder; nothing where that is gone or damaged, and the run counts as unfinished."""
    path = folder / COMPLETE
    try:
        return dict(read_json(path)) if path.exists() else {}
    except (InputError, ValueError, TypeError):
        return {}


def is_complete(folder: Path) -> bool:
    """Whether a run was finished and all of its files are there, whatever is in them."""
    return bool(said(folder)) and all((folder / name).exists() for name in _wanted(folder))


def digests_of(folder: Path, pattern: str = "*") -> dict[str, str]:
    """Path within a run's folder -> SHA-256, of the files that count; what is being written and logs do not."""
    paths = [path for path in sorted(folder.rglob(pattern)) if path.is_file() and not path.name.startswith(".")]
    counting = [path for path in paths if path.name not in _NOT_OF_THE_RUN and path.suffix not in _TO_LOOK_AT]
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in counting}


def damaged_files(folder: Path, name: str = "") -> list[str]:
    """Files of a finished run that are gone or not what it left.

    Args:
        name: look at this file, or at the files of this folder in it, alone.
    """
    inside = f"{name}/" if name else ""
    wanted = {file: digest for file, digest in _wanted(folder).items() if file == name or file.startswith(inside)}
    return sorted(file for file, digest in wanted.items() if not _has_digest(folder / file, digest))


def discard_damaged(folder: Path) -> list[str]:
    """Take what is damaged out of a finished run, which is unfinished then and goes on from what is left of it.

    Only for who holds the folder's lock. Returns the files that it removed.
    """
    wrong = damaged_files(folder)
    with machine_errors(folder):
        for name in wrong:
            (folder / name).unlink(missing_ok=True)
        if wrong:  # last: after a kill the run still knows which files to look at
            (folder / COMPLETE).unlink()
    return wrong


@contextlib.contextmanager
def changing(path: Path) -> Iterator[None]:
    """Around a change of a run's file that is meant: its digest follows, unless the file was damaged before."""
    was_whole = _has_digest(path, _wanted(path.parent).get(path.name, ""))
    yield
    if was_whole:
        renew_digest(path)


def renew_digest(path: Path) -> None:
    """Take a file of a finished run as it is now for the one that the run left."""
    facts = said(path.parent)
    kind = _FILES if _FILES in facts else _OLD_FILES
    if path.name in facts.get(kind, {}):
        write_json(path.parent / COMPLETE, {**facts, kind: {**facts[kind], path.name: file_digest(path)}})


def require_parts(folder: Path) -> None:
    """Refuse parts that are not those which the run left; a damaged one is removed, so that the run makes it again.

    Raises:
        InputError: a part is missing, one too many, or of another content than when the run was complete.
    """
    if not {_FILES, _OLD_FILES} & set(said(folder)):  # nothing says what they should be
        return
    wanted = {name: digest for name, digest in _wanted(folder).items() if Path(name).match(_PARTS)}
    found = digests_of(folder, _PARTS)
    wrong = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    for name in wrong:
        with machine_errors(folder / name):
            (folder / name).unlink(missing_ok=True)
    if wrong:
        raise InputError(
            f"{folder}: {len(wrong)} of {len(wanted)} parts are damaged or missing ({', '.join(wrong[:3])}); nothing was "
            "published; `semconv run`, or the command that made them, makes them again"
        )


def require_file(path: Path) -> None:
    """Refuse a file that is not what its run left, whose content may be wrong without a word; InputError names it."""
    if damaged_files(path.parent, path.name):
        raise InputError(f"{path}: not as its run left it")


def _wanted(folder: Path) -> dict[str, str]:
    """Digests that a finished run says, of what may not be gone; none where it says nothing of its files."""
    facts = said(folder)
    found: dict[str, str] = facts.get(_FILES, facts.get(_OLD_FILES, {}))
    return {name: digest for name, digest in found.items() if name not in TRAINING_STATES or (folder / name).exists()}


def _has_digest(path: Path, digest: str) -> bool:
    try:
        return file_digest(path) == digest
    except InputError:  # gone, or the disk does not give it
        return False
