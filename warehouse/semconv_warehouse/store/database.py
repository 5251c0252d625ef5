"""Opening a DuckDB file through SQLAlchemy, bulk rows through Arrow, and what DuckDB's errors mean to a user.

A DuckDB file open for writing shuts every other process out, and a reader shuts the writer out. So
nothing here keeps a file open: the pool is ``NullPool`` and the engine is disposed on leaving.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from semconv.errors import InputError, LockedError, MachineError, SemconvError

DEFAULT_MEMORY_MB = 1024  # of DuckDB, where lists of all users are moved; see the setting `publish.memory_mb`
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
_relation_names = (f"arrow_rows_{number}" for number in itertools.count())


def prepare_bulk(connection: duckdb.DuckDBPyConnection, memory_mb: int, spill: Path) -> None:
    """Settings of a connection that moves the lists of all users: what memory they may take, and where the rest goes."""
    connection.execute(f"SET memory_limit = '{memory_mb}MB'")
    connection.execute("SET temp_directory = ?", [str(spill)])
    # The bar would come up on stdout wherever DuckDB takes the process for an interactive one.
    connection.execute("SET enable_progress_bar = false")


@contextlib.contextmanager
def open_database(path: Path, *, read_only: bool, wait: float = 0.0) -> Iterator[sa.Connection]:
    """Open one DuckDB file and close it on leaving; writers work inside ``with connection.begin():``.

    Args:
        wait: seconds to go on trying while another process holds the file.
    Raises:
        LockedError: another process holds the file after ``wait`` seconds; names its PID.
        InputError: the file is missing (read-only), damaged or no DuckDB database.
        MachineError: disk full, no permission, out of memory, also inside the block.
    """
    if read_only and not path.exists():
        raise InputError(f"{path}: no such database; `semconv init` makes a project, an ingest fills it")
    with database_errors(path):
        engine, connection = _connect(path, read_only=read_only, wait=wait)
        try:
            yield connection
        finally:
            # A failed rollback of a damaged connection must not hide the error that led here.
            with contextlib.suppress(DBAPIError, duckdb.Error):
                connection.close()
            engine.dispose()


def raw(connection: sa.Connection) -> duckdb.DuckDBPyConnection:
    """DuckDB's own connection under SQLAlchemy's, for Arrow in and out; it is in the same transaction."""
    driver = connection.connection.driver_connection
    if driver is None:
        raise AssertionError("the connection is closed")
    # duckdb_engine wraps the connection and forwards its methods, which are bound to the inner one.
    return cast("duckdb.DuckDBPyConnection", driver.execute.__self__)


def quote_identifier(name: str) -> str:
    """A table or column name as SQL; the one place where names become SQL text (values are always bound)."""
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def registered(connection: sa.Connection, rows: pa.Table) -> Iterator[str]:
    """Give an Arrow table a name that SQL on this connection can read inside the block."""
    inner, name = raw(connection), next(_relation_names)
    inner.register(name, rows)
    yield name
    # Not on failure: the transaction is lost then, and the name goes with the connection.
    inner.unregister(name)


def insert_arrow(connection: sa.Connection, table: str, rows: pa.Table) -> None:
    """Append Arrow rows to a table, columns matched by name; missing ones take their default."""
    if rows.num_rows == 0:
        return
    with registered(connection, rows) as name:
        raw(connection).execute(f"INSERT INTO {quote_identifier(table)} BY NAME SELECT * FROM {name}")  # noqa: S608


@contextlib.contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn what the disk, the memory or a damaged file do to DuckDB into errors of ours; others pass."""
    try:
        yield
    except (DBAPIError, duckdb.Error) as error:
        translated = _translate(path, _original(error))
        if translated is None:
            raise
        raise translated from error


def _connect(path: Path, *, read_only: bool, wait: float) -> tuple[sa.Engine, sa.Connection]:
    deadline, pause = time.monotonic() + wait, _FIRST_PAUSE_SECONDS
    while True:
        engine = sa.create_engine(
            sa.URL.create("duckdb", database=str(path)), poolclass=NullPool, connect_args={"read_only": read_only}
        )
        try:
            return engine, engine.connect()
        except (DBAPIError, duckdb.Error) as error:
            engine.dispose()
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
    way_out = f"tried for {wait:g} s; stop it or wait longer" if wait else "stop it or use --wait SECONDS"
    if "different configuration" in message:
        return LockedError(f"{path} is in use by this process ({os.getpid()}) in another mode; {way_out}", os.getpid())
    if "Could not set lock" not in message and "Conflicting lock" not in message:
        return None
    found = re.search(r"PID (\d+)", message)
    pid = int(found.group(1)) if found else None
    return LockedError(f"{path} is held by process {pid or 'unknown'}; {way_out}", pid)


def is_damage(error: Exception) -> bool:
    """Whether DuckDB complains of a file that is damaged, and not of a statement."""
    return any(sign in str(error) for sign in _NO_DATABASE)


def _way_out_of_damage(path: Path) -> str:
    if path.name == WAREHOUSE:
        return "put a copy back, or move it away and ingest everything again; what is published is served on"
    return "if it is what is served, `semconv publish` makes it anew; otherwise remove it"


def _translate(path: Path, error: BaseException) -> SemconvError | None:
    message = str(error).partition("\n")[0]
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError):
        return MachineError(f"{path}: out of memory ({message})")
    if any(sign in message for sign in _MACHINE):
        return MachineError(f"{path}: the machine refused ({message}); nothing was changed")
    if any(sign in message for sign in _NO_DATABASE):
        return InputError(f"{path}: not a DuckDB database, or damaged ({message}); {_way_out_of_damage(path)}")
    if "version number" in message and "read" in message:
        return InputError(f"{path}: written by another version of DuckDB ({message}); upgrade duckdb")
    if isinstance(error, duckdb.IOException):
        return MachineError(
            f"{path}: cannot be opened or written ({message}); look at the space on the disk and at the file's mode, then run the "
            "same command again"
        )
    return None
