"""The files of generations: which is served, which lie beside it, and how one is put in place.

Knows files alone, not the record of them in the warehouse.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from semconv.artifacts import machine_errors
from semconv.errors import InputError
from semconv_warehouse.publish.generation import read_info, require_whole
from semconv_warehouse.store.layout import ProjectLayout


def generation_files(layout: ProjectLayout) -> dict[int, Path]:
    """Generation number -> its file, of those that are there."""
    return {int(path.stem): path for path in layout.generations.glob("*.duckdb") if path.stem.isdecimal()}


def served_generation(layout: ProjectLayout) -> int | None:
    """Which generation ``serving.duckdb`` is, None when nothing is served or the file is no generation.

    Told by the hard link where possible: a connection that this process still holds to an older
    ``serving.duckdb`` would answer for the older file.
    """
    if not layout.serving.exists():
        return None
    for number, path in generation_files(layout).items():
        if path.samefile(layout.serving):
            return number
    with suppress(InputError):  # a damaged file serves nothing
        return read_info(layout.serving).generation
    return None


def previous_generation(layout: ProjectLayout, generation: int) -> int | None:
    """The latest generation before this one whose file is left."""
    return max((number for number in generation_files(layout) if number < generation), default=None)


def generation_path(layout: ProjectLayout, generation: int) -> Path:
    """The file of the served or an earlier generation; ``serving.duckdb`` when its own name is gone."""
    own = layout.generation_file(generation)
    return own if own.exists() else layout.serving


def replace_serving(layout: ProjectLayout, generation: int) -> None:
    """The commit point: ``serving.duckdb`` becomes this generation, for everyone who opens it from now on."""
    with machine_errors(layout.serving), temporary_path(layout.serving) as link:
        try:
            os.link(layout.generation_file(generation), link)
        except OSError:  # a file system without hard links
            shutil.copy2(layout.generation_file(generation), link)
        # A write-ahead log of the old file would be replayed into the new one.
        layout.serving.with_name(f"{layout.serving.name}.wal").unlink(missing_ok=True)
        link.replace(layout.serving)
    sync_folder(layout.data)


@contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """A name beside ``path`` that does not survive the block."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    finally:
        _remove_file(temporary)


def is_whole(path: Path) -> bool:
    """Whether a generation file is there and can be read from end to end."""
    with suppress(InputError):
        require_whole(path)
        return True
    return False


def remove_leftovers(layout: ProjectLayout, known: set[int]) -> None:
    """What a killed publish left: temporary files, and a generation file that never came into place."""
    for folder in (layout.generations, layout.data):
        for path in folder.glob(".*.duckdb.*.tmp*"):
            _remove_file(path)
    newest = max([*known, served_generation(layout) or 0], default=0)
    for number, path in generation_files(layout).items():
        if number > newest:
            _remove_file(path)


def _remove_file(path: Path) -> None:
    spilled = path.with_name(f"{path.name}.tmp")  # a folder of DuckDB's
    for name in (path, path.with_name(f"{path.name}.wal"), spilled):
        if name.is_dir():
            shutil.rmtree(name, ignore_errors=True)
        else:
            name.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
