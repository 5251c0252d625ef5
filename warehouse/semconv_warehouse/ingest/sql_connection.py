"""Open a database for the query of ``--from-sql``, so that its statement can read and not write."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from semconv.errors import InputError, SettingsError
from semconv_warehouse.store.database import raw
from semconv_warehouse.store.statements import require_reading

_EXTRAS = {"postgresql": "'semconv[postgres]'"}  # SQLAlchemy dialect -> package for pip
_FILES = {"sqlite": "SQLite", "duckdb": "DuckDB"}  # SQLAlchemy dialects of databases in a file -> name
# A connection of SQLite that cannot write to its database may still create a file for these; VACUUM INTO attaches one.
_SQLITE_REFUSED = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}
# Other settings of SQLite may write: a checkpoint, the journal's mode. Switching query_only off outlives no statement.
_SQLITE_PRAGMAS = {"database_list", "foreign_key_list", "index_info", "index_list", "index_xinfo", "query_only", "table_info", "table_list", "table_xinfo"}  # fmt: skip
_REFUSALS = (TypeError, ValueError, ArgumentError)  # of a driver; their messages may quote a secret value
_WAL_BYTE = slice(18, 19)  # of the header of a SQLite file: 2 if the database has a write-ahead log


def reading_engine(url: sa.URL, shown: str) -> sa.Engine:
    """Return an engine whose connections to SQLite and DuckDB cannot write.

    Args:
        shown: the URL for messages, without secrets.

    Raises:
        InputError: the file does not exist; SQLite and DuckDB would create it.
        SettingsError: the driver is not installed.
    """
    backend = url.get_backend_name()
    if backend in _FILES and not _is_in_memory(url) and not Path(str(url.database)).is_file():
        raise InputError(f"{shown}: no such {_FILES[backend]} file; give the path of an existing one")
    options: dict[str, Any] = {}
    if backend == "sqlite":
        file = Path(str(url.database)).resolve()
        # A read-only reader of a database with a write-ahead log leaves files beside it; other readers remove them.
        mode = "rw" if _has_log(file) else "ro"
        url = url.set(database=file.as_uri()).update_query_dict({"mode": mode, "uri": "true"})
    elif backend == "duckdb" and not _is_in_memory(url):
        options["connect_args"] = {"read_only": True}
    try:
        engine = sa.create_engine(url, poolclass=NullPool, **options)
    except NoSuchModuleError as error:
        raise SettingsError(
            f"--from-sql: SQLAlchemy does not know the dialect {url.drivername}; install its package with pip"
        ) from error
    except ImportError as error:
        package = _EXTRAS.get(backend, error.name or "its driver")
        raise SettingsError(
            f"--from-sql: the driver for {backend} is not installed; run `pip install {package}`"
        ) from error
    except _REFUSALS as error:
        raise _refused(shown, error) from None
    if backend == "sqlite":
        sa.event.listen(engine, "connect", lambda connection, _: _restrict(connection))
    return engine


def connected(engine: sa.Engine, shown: str) -> sa.Connection:
    """Open a connection; raise SettingsError if the driver does not accept a parameter of the URL."""
    try:
        return engine.connect()
    except _REFUSALS as error:
        raise _refused(shown, error) from None


def _refused(shown: str, error: Exception) -> SettingsError:
    return SettingsError(
        f"--from-sql: the driver does not accept a parameter of {shown} ({type(error).__name__}); check the names and values"
        " after the question mark"
    )


def readable(connection: sa.Connection, statement: str) -> str:
    """Return the statement to run on a connection; raise SettingsError if a statement of DuckDB may write.

    A statement of DuckDB may read the files that this user may read.
    """
    if connection.dialect.name != "duckdb":
        return statement
    inner = raw(connection)
    inner.execute("SET autoinstall_known_extensions = false")  # an installation writes files
    inner.execute("SET lock_configuration = true")  # a logging setting writes files
    try:
        return require_reading(inner, statement)
    except (SettingsError, duckdb.Error) as error:
        raise SettingsError(f"--from-sql: {str(error).splitlines()[0]}; correct the statement") from error


def _is_in_memory(url: sa.URL) -> bool:
    """Return whether a DuckDB database is in memory or on a server of MotherDuck. SQLite needs a file."""
    name = url.database or ":memory:"
    return url.get_backend_name() == "duckdb" and (name.startswith((":memory:", "md:")))


def _has_log(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(20)[_WAL_BYTE] == b"\x02"


def _restrict(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.set_authorizer(_authorize)


def _authorize(action: int, name: str | None, detail: str | None, *_: Any) -> int:
    """Refuse what a statement of SQLite may do beside reading this database."""
    loads_code = action == sqlite3.SQLITE_FUNCTION and detail == "load_extension"
    is_setting = action == sqlite3.SQLITE_PRAGMA and str(name).lower() not in _SQLITE_PRAGMAS
    return sqlite3.SQLITE_DENY if action in _SQLITE_REFUSED or loads_code or is_setting else sqlite3.SQLITE_OK
