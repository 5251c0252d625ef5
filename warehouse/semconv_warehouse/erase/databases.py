"""Erasing users from DuckDB files.

A DuckDB file still contains the bytes of deleted rows until their blocks are used again. So the remaining rows are
copied into a new file, which then replaces the old file by a rename.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from semconv.artifacts import commit, private_path
from semconv.columns import USER_ID
from semconv.modes import OWNER_FILE
from semconv_warehouse.publish.generation_files import open_generation, seal
from semconv_warehouse.store.database import PUBLISHED_STORAGE, database_errors, quote_identifier


def erase_from_generation(path: Path, users: Sequence[str], *, dry_run: bool) -> int:
    """Replace a generation file by a read-only copy without the rows of users; return the number of erased rows."""
    with open_generation(path) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT table_name FROM duckdb_columns() WHERE column_name = $1 AND table_name IN"
                " (SELECT table_name FROM duckdb_tables()) ORDER BY table_name",
                [USER_ID],
            ).fetchall()
        ]
        num_rows = sum(_count(connection, table, users) for table in tables)
    if num_rows and not dry_run:
        with private_path(path) as temporary:
            _copy(path, temporary, {table: list(users) for table in tables})
            seal(temporary, path)
    return num_rows


def _count(connection: duckdb.DuckDBPyConnection, table: str, users: Sequence[str]) -> int:
    sql = f"SELECT count(*) FROM {quote_identifier(table)} WHERE list_contains($1::VARCHAR[], user_id)"  # noqa: S608
    return int(connection.execute(sql, [list(users)]).fetchall()[0][0])


def _copy(source: Path, target: Path, erased: Mapping[str, list[str]]) -> None:
    """Copy a database with its views and macros, without the rows of the ``erased`` users of each table."""
    with database_errors(target), duckdb.connect() as connection:
        connection.execute("ATTACH ? AS old (READ_ONLY)", [str(source)])
        connection.execute(f"ATTACH ? AS new (STORAGE_VERSION '{PUBLISHED_STORAGE}')", [str(target)])
        connection.execute("COPY FROM DATABASE old TO new (SCHEMA)")
        tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'old'").fetchall()
        for (table,) in tables:
            name = quote_identifier(table)
            kept = " WHERE NOT list_contains($1::VARCHAR[], user_id)" if table in erased else ""
            values = [erased[table]] if table in erased else []
            connection.execute(f"INSERT INTO new.{name} SELECT * FROM old.{name}{kept}", values)  # noqa: S608
        connection.execute("CHECKPOINT new")


def compact(path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Replace a database file by a copy that contains its current rows and no bytes of deleted rows.

    Args:
        connection: a connection to ``path`` for writing; it keeps other processes out until the rename.
    """
    own = connection.execute("SELECT current_database()").fetchall()[0][0]
    with private_path(path) as temporary, database_errors(path):
        # Otherwise changes of an earlier process may be in the write-ahead log only, which outlives the rename.
        connection.execute("CHECKPOINT")
        connection.execute("ATTACH ? AS compacted", [str(temporary)])
        try:
            connection.execute(f"COPY FROM DATABASE {quote_identifier(own)} TO compacted")
            connection.execute("CHECKPOINT compacted")
        finally:
            connection.execute("DETACH compacted")
        commit(temporary, path, OWNER_FILE)
