"""Open a DuckDB file through SQLAlchemy, pass many rows through Arrow, and translate DuckDB's errors.

A process that has a DuckDB file open for writing locks out all other processes, and a reader locks out writers. So no
file stays open: the pool is ``NullPool``, which closes the file at the end of a block.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import itertools
import os
import re
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from semconv.errors import InputError, LockedError, MachineError, SemconvError
from semconv.modes import closed_umask

DEFAULT_MEMORY_MB = 1024  # memory of DuckDB while it copies the lists of all users; see the setting `publish.memory_mb`
_MB_OF_A_THREAD = 128
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.5
_NO_DATABASE = (
    "not a valid DuckDB database file",
    "Could not read enough bytes",
    "Corrupt database file",
    "computed checksum",
    "Is a directory",
)
_MACHINE = (
    "No space left",
    "Disk quota exceeded",
    "File too large",
    "Permission denied",
    "Read-only file system",
    "Cannot allocate memory",
)
WAREHOUSE = "warehouse.duckdb"
# The version of the file format of published files, which DuckDB from 1.1 reads. By default, DuckDB writes its newest.
PUBLISHED_STORAGE = "v1.0.0"
_relation_names = (f"arrow_rows_{number}" for number in itertools.count())
_opened: ContextVar[tuple[Path, bool]] = ContextVar("_opened")  # the file that is being opened, and whether read-only


def prepare_bulk(connection: duckdb.DuckDBPyConnection, memory_mb: int, spill: Path | None = None) -> None:
    """Limit the memory of a connection that copies rows of all users.

    DuckDB writes the rest to the folder ``spill``; by default, to a folder beside the open file. Each of its threads needs
    memory that it cannot write out, so a machine with many processors uses only some of them.
    """
    connection.execute(f"SET memory_limit = '{memory_mb}MB'")
    (threads,) = connection.execute("SELECT current_setting('threads')").fetchall()[0]
    connection.execute(f"SET threads = {max(1, min(threads, memory_mb // _MB_OF_A_THREAD))}")
    if spill is not None:
        connection.execute("SET temp_directory = ?", [str(spill)])
    # If DuckDB takes the process for interactive, it would draw a progress bar on stdout.
    connection.execute("SET enable_progress_bar = false")


def write_parquet(rows: duckdb.DuckDBPyRelation, file: Path) -> None:
    """Write rows to a Parquet file that :func:`semconv.artifacts.atomic_path` created."""
    # By default, DuckDB writes to a further temporary file beside an existing one. After a kill, nobody would know it.
    rows.write_parquet(str(file), compression="zstd", use_tmp_file=False)


@contextlib.contextmanager
def open_database(path: Path, *, read_only: bool, wait: float = 0.0) -> Iterator[sa.Connection]:
    """Open one DuckDB file and close it at the end of the block. Writers also need ``with connection.begin():``.

    Args:
        wait: seconds to retry while another process holds the file.

    Raises:
        LockedError: another process still holds the file after ``wait`` seconds; the message has its PID.
        InputError: the file is missing (when opened read-only), damaged or not a DuckDB database.
        MachineError: the disk is full, a permission is missing or memory runs out, also during statements of the block.
    """
    if read_only and not path.exists():
        raise InputError(f"{path}: no such database; create a project with `semconv init`, then ingest")
    # DuckDB creates a write-ahead log beside the file, which nobody else may write.
    with database_errors(path), contextlib.nullcontext() if read_only else closed_umask():
        connection = _connect(path, read_only=read_only, wait=wait)
        try:
            yield connection
        finally:
            # A failed rollback of a damaged connection must not hide the original error.
            with contextlib.suppress(DBAPIError, duckdb.Error):
                connection.close()


def raw(connection: sa.Connection) -> duckdb.DuckDBPyConnection:
    """Return the DuckDB connection inside SQLAlchemy's, for Arrow tables. Both use the same transaction."""
    driver = connection.connection.driver_connection
    if driver is None:
        raise AssertionError("the connection is closed")
    # duckdb_engine wraps the connection and forwards its methods, which are bound to the DuckDB connection.
    return cast("duckdb.DuckDBPyConnection", driver.execute.__self__)


def quote_identifier(name: str) -> str:
    """Return a table or column name, quoted for SQL. Values are passed as bound parameters instead."""
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def registered(connection: sa.Connection, rows: pa.Table) -> Iterator[str]:
    """Make an Arrow table available under a name, for SQL on this connection, for the length of the block."""
    inner, name = raw(connection), next(_relation_names)
    inner.register(name, rows)
    yield name
    # Not after an error: then the transaction is lost, and the name goes with the connection.
    inner.unregister(name)


def insert_arrow(connection: sa.Connection, table: str, rows: pa.Table) -> None:
    """Append Arrow rows to a table. Columns are matched by name; missing columns get their default value."""
    if rows.num_rows == 0:
        return
    with registered(connection, rows) as name:
        raw(connection).execute(f"INSERT INTO {quote_identifier(table)} BY NAME SELECT * FROM {name}")  # noqa: S608


@contextlib.contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn DuckDB errors about disk, memory and damaged files into a SemconvError; raise other errors unchanged."""
    try:
        yield
    except (DBAPIError, duckdb.Error) as error:
        translated = _translate(path, _original(error))
        if translated is None:
            raise
        raise translated from error


@functools.cache
def _engine() -> sa.Engine:
    """Return the engine that opens all files. Each new engine would ask DuckDB for its keywords and settings again."""
    engine = sa.create_engine("duckdb://", poolclass=NullPool)

    @event.listens_for(engine, "do_connect")
    def choose_file(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        path, read_only = _opened.get()
        options.update(database=str(path), read_only=read_only)

    return engine


def _connect(path: Path, *, read_only: bool, wait: float) -> sa.Connection:
    deadline, pause = time.monotonic() + wait, _FIRST_PAUSE_SECONDS
    _opened.set((path, read_only))
    while True:
        try:
            return _engine().connect()
        except (DBAPIError, duckdb.Error) as error:
            locked = _locked(path, str(_original(error)), wait)
            if locked is None:
                raise
            left = deadline - time.monotonic()
            if left <= 0:
                raise locked from error
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _original(error: Exception) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _locked(path: Path, message: str, wait: float) -> LockedError | None:
    advice = f"tried for {wait:g} s; stop it or wait longer" if wait else "stop it or use --wait SECONDS"
    if "different configuration" in message:
        return LockedError(
            f"{path} is in use by this process ({os.getpid()}) for another kind of access; {advice}", os.getpid()
        )
    if "Could not set lock" not in message and "Conflicting lock" not in message:
        return None
    found = re.search(r"PID (\d+)", message)
    pid = int(found.group(1)) if found else None
    return LockedError(f"{path} is held by process {pid or 'unknown'}; {advice}", pid)


def is_damage(error: Exception) -> bool:
    """Return whether a DuckDB error means a damaged file rather than a wrong statement."""
    return any(sign in str(error) for sign in _NO_DATABASE)


def _advice_on_damage(path: Path) -> str:
    if path.name == WAREHOUSE:
        return "restore a backup, or move the file away and ingest everything again; published lists are still served"
    return "if this file is served, run `semconv publish` to write it again; otherwise delete it"


def _translate(path: Path, error: BaseException) -> SemconvError | None:
    message = str(error).partition("\n")[0]
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return MachineError(
            f"{path}: out of memory ({message}); close other programs or use a machine with more memory"
        )
    if any(sign in message for sign in _MACHINE):
        return MachineError(
            f"{path}: the operating system refused ({message}); nothing was changed; correct this and run the same command again"
        )
    if any(sign in message for sign in _NO_DATABASE):
        return InputError(f"{path}: not a DuckDB database, or damaged ({message}); {_advice_on_damage(path)}")
    if "version number" in message and "read" in message:
        return InputError(f"{path}: written by another version of DuckDB ({message}); upgrade the package duckdb")
    if isinstance(error, duckdb.IOException):
        return MachineError(
            f"{path}: cannot be opened or written ({message}); check the free space and the file's mode, then run the "
            "same command again"
        )
    return None


def merged_json(old: str, new: str) -> str:
    """Return the SQL of a JSON object with the members of ``old``, and those of the text ``new`` over them.

    If this changes no member, the result is ``old`` with its own spelling, so that the same rows change nothing.
    """
    merged = f"json_merge_patch({old}, {new}::JSON)"
    return (
        f"CASE WHEN {new} IS NULL THEN {old} WHEN {old} IS NULL THEN {new}::JSON"
        f" WHEN {merged} = json_merge_patch('{{}}'::JSON, {old}) THEN {old} ELSE {merged} END"
    )


def one_file(path: Path | str) -> str:
    """Return the name of one file for DuckDB's readers, which take ``*``, ``?`` and ``[`` in a path as a pattern."""
    return glob.escape(str(path))
