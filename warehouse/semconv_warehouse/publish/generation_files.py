"""The generation files of a project: which exist, which one is served, how one is read, checked and served.

This module knows the files alone; ``publications`` keeps the record of them in the warehouse.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from semconv.artifacts import machine_errors
from semconv.errors import InputError
from semconv_warehouse.store.database import database_errors, quote_identifier
from semconv_warehouse.store.layout import ProjectLayout


@dataclass(frozen=True)
class GenerationInfo:
    """The row of the table ``generation_info`` in a generation file."""

    generation: int
    run_ids: Mapping[str, Any]
    published_at: datetime  # UTC, time of its first publication


# Find


def generation_files(layout: ProjectLayout) -> dict[int, Path]:
    """Return the generation files that exist, by generation number."""
    return {int(path.stem): path for path in layout.generations.glob("*.duckdb") if path.stem.isdecimal()}


def served_generation(layout: ProjectLayout) -> int | None:
    """Return the number of the served generation; None if ``serving.duckdb`` is missing or damaged.

    The hard link is looked at first: a connection that this process still holds to an older ``serving.duckdb`` would
    answer for the older file.
    """
    if not layout.serving.exists():
        return None
    for number, path in generation_files(layout).items():
        if path.samefile(layout.serving):
            return number
    with contextlib.suppress(InputError):
        return read_info(layout.serving).generation
    return None


def previous_generation(layout: ProjectLayout, generation: int) -> int | None:
    """Return the latest generation before this one whose file exists, or None."""
    return max((number for number in generation_files(layout) if number < generation), default=None)


def generation_path(layout: ProjectLayout, generation: int) -> Path:
    """Return the file of a generation, or ``serving.duckdb`` if that file is missing."""
    own = layout.generation_file(generation)
    return own if own.exists() else layout.serving


# Read and check


@contextlib.contextmanager
def open_generation(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a generation file read-only; raise InputError if it is missing or damaged."""
    if not path.exists():
        raise InputError(f"{path}: missing; `semconv publish` makes it")
    with database_errors(path), duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def read_info(path: Path) -> GenerationInfo:
    """Read a file's ``generation_info``; raise InputError if the file is no generation."""
    with open_generation(path) as connection:
        try:
            row = connection.execute("SELECT generation, run_ids, published_at FROM generation_info").fetchone()
        except duckdb.CatalogException as error:
            raise InputError(f"{path}: not a generation file of semconv; `semconv publish` makes one") from error
    if row is None:
        raise InputError(f"{path}: damaged, its table generation_info is empty; `semconv publish` makes a new file")
    return GenerationInfo(int(row[0]), json.loads(row[1]), row[2])


def require_undamaged(path: Path) -> None:
    """Read every row of a generation file, whose blocks carry checksums; raise InputError if a block is damaged."""
    read_info(path)
    with open_generation(path) as connection:
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            connection.execute(f"SELECT bit_xor(hash(COLUMNS(*))) FROM {quote_identifier(table)}").fetchall()  # noqa: S608


def is_undamaged(path: Path) -> bool:
    """Whether a generation file exists and every row of it can be read."""
    with contextlib.suppress(InputError):
        require_undamaged(path)
        return True
    return False


# Write and serve


def seal(path: Path) -> None:
    """Make a finished file read-only and sync it to the disk."""
    with machine_errors(path):
        path.chmod(0o444)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def replace_serving(layout: ProjectLayout, generation: int) -> None:
    """Serve this generation by one rename over ``serving.duckdb``; connections that are opened later read it."""
    with machine_errors(layout.serving), temporary_path(layout.serving) as link:
        try:
            os.link(layout.generation_file(generation), link)
        except OSError:  # a file system without hard links
            shutil.copy2(layout.generation_file(generation), link)
        # DuckDB would replay a write-ahead log of the old file into the new one.
        layout.serving.with_name(f"{layout.serving.name}.wal").unlink(missing_ok=True)
        link.replace(layout.serving)
    sync_folder(layout.data)


def sync_folder(folder: Path) -> None:
    """Sync a folder to the disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def temporary_path(path: Path) -> Iterator[Path]:
    """Give the name of a temporary database beside ``path``; remove it and DuckDB's files beside it afterwards."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    finally:
        _remove_database(temporary)


def spill_folder(path: Path) -> Path:
    """Return the folder beside a database that DuckDB fills when memory is short; it carries DuckDB's own name for it."""
    return path.with_name(f"{path.name}.tmp")


def remove_leftovers(layout: ProjectLayout, known: set[int]) -> None:
    """Remove the leftovers of a killed publish: temporary files, and a generation file that was never served.

    Args:
        known: generations that the warehouse has a record of.
    """
    for folder in (layout.generations, layout.data):
        for path in folder.glob(".*.duckdb.*.tmp*"):
            _remove_database(path)
    newest = max([*known, served_generation(layout) or 0])
    for number, path in generation_files(layout).items():
        if number > newest:
            _remove_database(path)


def _remove_database(path: Path) -> None:
    for name in (path, path.with_name(f"{path.name}.wal"), spill_folder(path)):
        if name.is_dir():
            shutil.rmtree(name, ignore_errors=True)
        else:
            name.unlink(missing_ok=True)
