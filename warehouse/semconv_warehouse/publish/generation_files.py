"""Find, read, check and serve the generation files of a project.

This module uses only the files. The module ``publications`` keeps the record of them in the warehouse.
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

from semconv.artifacts import UNFINISHED, commit, machine_errors, private_path, remove
from semconv.errors import InputError
from semconv.modes import SEALED_FILE
from semconv_warehouse.store.database import database_errors, quote_identifier
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.leftovers import spill_folder


@dataclass(frozen=True)
class GenerationInfo:
    """The row of the table ``generation_info`` in a generation file."""

    generation: int
    run_ids: Mapping[str, Any]
    published_at: datetime  # UTC, when the generation was first published


# Find


def generation_files(layout: ProjectLayout) -> dict[int, Path]:
    """Return the generation files that exist, by generation number."""
    return {int(path.stem): path for path in layout.generations.glob("*.duckdb") if path.stem.isdecimal()}


def served_generation(layout: ProjectLayout) -> int | None:
    """Return the number of the served generation; None if ``serving.duckdb`` is missing or damaged.

    The hard link is compared first, because a connection that this process still holds to an older ``serving.duckdb``
    would answer for the older file.
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
    """Return the number of the latest generation before this one whose file exists, or None."""
    return max((number for number in generation_files(layout) if number < generation), default=None)


def generation_path(layout: ProjectLayout, generation: int) -> Path:
    """Return the path of a generation's file, or ``serving.duckdb`` if that file is missing."""
    own = layout.generation_file(generation)
    return own if own.exists() else layout.serving


# Read and check


def require_alone(path: Path) -> None:
    """Raise InputError if a stray file lies beside a generation file; DuckDB would read it as a part of the database.

    A generation file never changes, so no write-ahead log belongs to it. A folder for temporary files may: a program
    that reads much of the file creates it.
    """
    strays = [
        beside
        for beside in path.parent.iterdir()
        if beside.name.startswith(f"{path.name}.") and not (beside == spill_folder(path) and beside.is_dir())
    ]
    if strays:
        names = ", ".join(sorted(beside.name for beside in strays))
        raise InputError(
            f"{path}: the stray file {names} lies beside it and could change what it says, so it was not opened; find out who wrote the file, then delete it"
        )


@contextlib.contextmanager
def open_generation(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a generation file read-only; raise InputError if it is missing, damaged or not alone."""
    if not path.exists():
        raise InputError(f"{path}: missing; `semconv publish` creates it")
    require_alone(path)
    with database_errors(path), duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def read_info(path: Path) -> GenerationInfo:
    """Read the table ``generation_info`` of a file; raise InputError if it is not a generation file."""
    with open_generation(path) as connection:
        try:
            row = connection.execute("SELECT generation, run_ids, published_at FROM generation_info").fetchone()
        except duckdb.CatalogException as error:
            raise InputError(f"{path}: not a generation file of semconv; `semconv publish` creates one") from error
    if row is None:
        raise InputError(f"{path}: damaged, its table generation_info is empty; `semconv publish` creates a new file")
    return GenerationInfo(int(row[0]), json.loads(row[1]), row[2])


def require_undamaged(path: Path) -> None:
    """Raise InputError if a generation file is damaged. Reading every row makes DuckDB verify all checksums."""
    read_info(path)
    with open_generation(path) as connection:
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            connection.execute(f"SELECT bit_xor(hash(COLUMNS(*))) FROM {quote_identifier(table)}").fetchall()  # noqa: S608


def is_undamaged(path: Path) -> bool:
    """Return whether a generation file exists and all of its rows can be read."""
    with contextlib.suppress(InputError):
        require_undamaged(path)
        return True
    return False


# Write and serve


def seal(temporary: Path, path: Path) -> None:
    """Make a complete file read-only, sync it to the disk, and rename it to ``path``."""
    with machine_errors(path):
        commit(temporary, path, SEALED_FILE)


def replace_serving(layout: ProjectLayout, generation: int) -> None:
    """Serve this generation: replace ``serving.duckdb`` by one rename. Later connections read the new generation."""
    with machine_errors(layout.serving), private_path(layout.serving) as link:
        try:
            os.link(layout.generation_file(generation), link)
        except OSError:  # a file system without hard links
            shutil.copy2(layout.generation_file(generation), link)
        # DuckDB would replay a write-ahead log of the old file into the new one.
        layout.serving.with_name(f"{layout.serving.name}.wal").unlink(missing_ok=True)
        commit(link, layout.serving, SEALED_FILE)


def remove_killed_publish(layout: ProjectLayout, known: set[int]) -> None:
    """Remove files that a killed publish left: temporary files, and a generation file that was never served.

    Args:
        known: numbers of the generations that the warehouse has recorded.
    """
    unfinished = (*layout.generations.glob(UNFINISHED), *layout.data.glob(f".{layout.serving.name}{UNFINISHED}"))
    for path in unfinished:
        _remove_database(path)
    newest = max([*known, served_generation(layout) or 0])
    for number, path in generation_files(layout).items():
        if number > newest:
            _remove_database(path)


def _remove_database(path: Path) -> None:
    for name in (path, path.with_name(f"{path.name}.wal"), spill_folder(path)):
        remove(name)
