"""Upgrade the schema of the warehouse: apply the numbered SQL files that were not applied yet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from semconv.artifacts import commit, machine_errors, private_path
from semconv.clock import as_timestamp, utc_now
from semconv.errors import InputError
from semconv.locks import run_lock
from semconv.modes import OWNER_FILE
from semconv_warehouse.store.database import open_database
from semconv_warehouse.store.layout import package_folder

_CREATION_SECONDS = 5.0  # seconds; the creation of a warehouse takes less
_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_BOOKKEEPING = """
CREATE TABLE IF NOT EXISTS schema_migration (
    version INTEGER NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL
)
"""


@dataclass(frozen=True)
class Migration:
    """A numbered SQL file of ``sql/migrations``."""

    version: int
    name: str
    file: Path


def migrations() -> list[Migration]:
    """Return the package's migrations in order; their versions run from 1 without a gap."""
    found = [
        Migration(int(match.group(1)), match.group(2), file)
        for file in sorted((package_folder("sql") / "migrations").glob("*.sql"))
        if (match := _NAME.fullmatch(file.name))
    ]
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise AssertionError("a gap in sql/migrations")
    return found


def schema_version(connection: sa.Connection) -> int:
    """Return the version of the last migration applied to a database, 0 for an empty database.

    Raises:
        InputError: the database has tables, but none that records migrations.
    """
    names = set(connection.execute(sa.text("SELECT table_name FROM duckdb_tables()")).scalars())
    if "schema_migration" in names:
        version: int = connection.execute(
            sa.text("SELECT coalesce(max(version), 0) FROM schema_migration")
        ).scalar_one()
        return version
    if names:
        raise InputError(
            f"the database holds other tables ({', '.join(sorted(names)[:3])}), so it is not a warehouse of semconv; move the file away"
        )
    return 0


def is_newest(connection: sa.Connection, path: Path) -> bool:
    """Return whether a database has every migration; InputError as in :func:`migrate`."""
    return not _pending(connection, migrations(), path)


def migrate(path: Path, wait: float = 0.0) -> list[str]:
    """Apply missing migrations and return their names. Each migration is applied and recorded in one transaction.

    A warehouse that is up to date is only read, so that other readers are not locked out.

    Raises:
        InputError: the database is newer than the code, belongs to another program, or is not a database.
        LockedError: another process holds or creates the database.
    """
    known = migrations()
    if path.exists():
        with open_database(path, read_only=True, wait=wait) as connection:
            if not _pending(connection, known, path):
                return []
        return _apply(path, known, wait)
    with run_lock(path.parent, wait=max(wait, _CREATION_SECONDS), work="the warehouse is being created"):
        if path.exists():  # The process that held the lock created the file and may have filled it.
            return []
        # A new warehouse gets its name only when it is complete, so that a kill leaves no incomplete one.
        with machine_errors(path), private_path(path) as temporary:
            names = _apply(temporary, known, wait)
            # A reader of the warehouse would stall every job, so the group may read only what is published.
            commit(temporary, path, OWNER_FILE)
            return names


def _apply(path: Path, known: list[Migration], wait: float) -> list[str]:
    with open_database(path, read_only=False, wait=wait) as connection:
        pending = _pending(connection, known, path)
        for migration in pending:
            now = as_timestamp(utc_now())
            with connection.begin():
                connection.exec_driver_sql(_BOOKKEEPING)
                connection.exec_driver_sql(migration.file.read_text())
                connection.execute(
                    sa.text("INSERT INTO schema_migration VALUES (:version, :name, :now)"),
                    {"version": migration.version, "name": migration.name, "now": now},
                )
    return [migration.name for migration in pending]


def _pending(connection: sa.Connection, known: list[Migration], path: Path) -> list[Migration]:
    # SQLAlchemy begins a transaction for a read. It must end before the transaction of a migration begins.
    with connection.begin():
        version = schema_version(connection)
    if version > len(known):
        raise InputError(
            f"{path}: its schema has version {version}, but this semconv knows versions up to {len(known)}; install a newer semconv"
        )
    return known[version:]
