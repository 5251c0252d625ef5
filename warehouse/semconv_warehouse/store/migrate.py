"""Bringing the warehouse's schema to the code's version: numbered SQL files, each applied once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from semconv.artifacts import atomic_path, run_lock
from semconv.clock import utc_now
from semconv.errors import InputError
from semconv_warehouse.store.database import open_database
from semconv_warehouse.store.layout import package_folder

_MAKING_SECONDS = 5.0  # more than it takes
_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS schema_migration (
    version INTEGER NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL
)
"""


@dataclass(frozen=True)
class Migration:
    """One file of ``sql/migrations``."""

    version: int
    name: str
    file: Path


def migrations() -> list[Migration]:
    """The package's migrations in order; their versions run from 1 without a gap."""
    found = [
        Migration(int(match.group(1)), match.group(2), file)
        for file in sorted((package_folder("sql") / "migrations").glob("*.sql"))
        if (match := _NAME.fullmatch(file.name))
    ]
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise AssertionError("a gap in sql/migrations")
    return found


def schema_version(connection: sa.Connection) -> int:
    """The last migration that a database has, 0 for an empty one.

    Raises:
        InputError: it holds tables, but none of this project's bookkeeping.
    """
    names = set(connection.execute(sa.text("SELECT table_name FROM duckdb_tables()")).scalars())
    if "schema_migration" in names:
        version: int = connection.execute(
            sa.text("SELECT coalesce(max(version), 0) FROM schema_migration")
        ).scalar_one()
        return version
    if names:
        raise InputError(
            f"the database holds other tables ({', '.join(sorted(names)[:3])}): not a warehouse of semconv"
        )
    return 0


def migrate(path: Path, wait: float = 0.0) -> list[str]:
    """Apply what is missing, each file with its bookkeeping row in one transaction; returns the names applied.

    A warehouse that is up to date is only read, so that this shuts no reader out.

    Raises:
        InputError: the database is newer than the code, of another program, or no database.
        LockedError: another process holds it, or makes it.
    """
    known = migrations()
    if path.exists():
        with open_database(path, read_only=True, wait=wait) as connection:
            if not _pending(connection, known, path):
                return []
        return _apply(path, known, wait)
    with run_lock(path.parent, wait=max(wait, _MAKING_SECONDS), work="the warehouse is being made"):
        if path.exists():  # by who had the lock until now, with rows in it
            return []
        # A new warehouse appears under its name only when it is whole, so a kill leaves no half of one.
        with atomic_path(path) as temporary:
            return _apply(temporary, known, wait)


def _apply(path: Path, known: list[Migration], wait: float) -> list[str]:
    with open_database(path, read_only=False, wait=wait) as connection:
        pending = _pending(connection, known, path)
        for migration in pending:
            now = utc_now().replace(tzinfo=None)
            with connection.begin():
                connection.exec_driver_sql(_BOOKKEEPING)
                connection.exec_driver_sql(migration.file.read_text())
                connection.execute(
                    sa.text("INSERT INTO schema_migration VALUES (:version, :name, :now)"),
                    {"version": migration.version, "name": migration.name, "now": now},
                )
    return [migration.name for migration in pending]


def _pending(connection: sa.Connection, known: list[Migration], path: Path) -> list[Migration]:
    # A read begins a transaction of SQLAlchemy's own; it must end before a migration begins its own.
    with connection.begin():
        version = schema_version(connection)
    if version > len(known):
        raise InputError(
            f"{path}: its schema has version {version}, this semconv knows {len(known)}; install a newer semconv"
        )
    return known[version:]
