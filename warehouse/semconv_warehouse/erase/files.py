"""Taking users out of files: Parquet, arrays by user_index, generation files, and a whole DuckDB file.

Every file is written anew beside itself and renamed in place, so that no byte of what was deleted stays in it, and
a killed process leaves either the old file or the new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv.artifacts import atomic_path, read_arrays, write_arrays
from semconv.columns import USER_ID
from semconv.errors import InputError
from semconv.ragged import offsets_of
from semconv.runs.digests import changing
from semconv_warehouse.publish.generation_files import open_generation, seal, temporary_path
from semconv_warehouse.store.database import database_errors, quote_identifier

Arrays = dict[str, NDArray[Any]]


def parquet_without(path: Path, users: Sequence[str], *, dry_run: bool) -> int:
    """Take rows of users out of a Parquet file; the number of rows. A file without the column, or without them, stays.

    Raises:
        InputError: it has the column and cannot be read to its end.
    """
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return 0  # cut short by a kill: whoever needs it makes it anew
    if USER_ID not in schema.names:
        return 0
    names = pa.array(users, pa.string())
    try:
        ids = pq.read_table(path, columns=[USER_ID]).column(USER_ID).cast(pa.string())
        num_rows = int(pc.sum(pc.is_in(ids, value_set=names)).as_py() or 0)
        if num_rows and not dry_run:
            _write_without(path, names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: cannot be read ({reason}); remove it and run the same command again") from error
    return num_rows


def _write_without(path: Path, names: pa.Array) -> None:
    table = pq.read_table(path, partitioning=None)
    kept = table.filter(pc.invert(pc.is_in(table.column(USER_ID).cast(pa.string()), value_set=names)))
    with changing(path), atomic_path(path) as temporary:
        pq.write_table(kept, temporary, compression="zstd")  # with the label in the schema's metadata


def arrays_without(path: Path, users: NDArray[np.int64], *, dry_run: bool) -> int:
    """Take users out of the arrays of a run that are kept by user_index; the number of values that go."""
    change = _BY_INDEX[path.name]
    arrays = read_arrays(path)
    changed, count = change(arrays, users)
    if count and not dry_run:
        with changing(path):
            write_arrays(path, changed)
    return count


def _without_vectors(arrays: Arrays, users: NDArray[np.int64]) -> tuple[Arrays, int]:
    gone = np.isin(arrays["user_index"], users)
    kept = {"user_index": arrays["user_index"][~gone], "user_vectors": arrays["user_vectors"][~gone]}
    return {**arrays, **kept}, int(gone.sum())


def _without_samples(arrays: Arrays, users: NDArray[np.int64]) -> tuple[Arrays, int]:
    offsets = arrays["offsets"]
    lengths = np.diff(offsets)
    gone = np.isin(np.arange(len(lengths)), users)
    keep = ~np.repeat(gone, lengths)
    rows = {name: arrays[name][keep] for name in ("items", "times", "has_query")}
    shorter = offsets_of(np.where(gone, 0, lengths)).astype(offsets.dtype)
    return {**arrays, **rows, "offsets": shorter}, int((~keep).sum())


def _without_states(arrays: Arrays, users: NDArray[np.int64]) -> tuple[Arrays, int]:
    gone = np.isin(arrays["users"], users) & (arrays["states"] != 0)
    # The place of a user tells the part of their list, so a row is emptied and stays.
    return {**arrays, "states": np.where(gone, 0, arrays["states"]).astype(arrays["states"].dtype)}, int(gone.sum())


_BY_INDEX: Mapping[str, Callable[[Arrays, NDArray[np.int64]], tuple[Arrays, int]]] = {
    "vectors.safetensors": _without_vectors,
    "tuned_on.safetensors": _without_samples,
    "states.safetensors": _without_states,
}
ARRAY_FILES = tuple(_BY_INDEX)


def generation_without(path: Path, users: Sequence[str], *, dry_run: bool) -> int:
    """Write a generation file anew without the rows of users, read-only by mode; the number of rows that go."""
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
        with temporary_path(path) as temporary:
            _copy(path, temporary, {table: list(users) for table in tables})
            seal(temporary)
            temporary.replace(path)
    return num_rows


def _count(connection: duckdb.DuckDBPyConnection, table: str, users: Sequence[str]) -> int:
    sql = f"SELECT count(*) FROM {quote_identifier(table)} WHERE list_contains($1::VARCHAR[], user_id)"  # noqa: S608
    return int(connection.execute(sql, [list(users)]).fetchall()[0][0])


def _copy(source: Path, target: Path, without: Mapping[str, list[str]]) -> None:
    """A new database with everything of another, views and macros too, but some users' rows in some tables."""
    with database_errors(target), duckdb.connect() as connection:
        connection.execute("ATTACH ? AS old (READ_ONLY)", [str(source)])
        connection.execute("ATTACH ? AS new", [str(target)])
        connection.execute("COPY FROM DATABASE old TO new (SCHEMA)")
        tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'old'").fetchall()
        for (table,) in tables:
            name = quote_identifier(table)
            kept = " WHERE NOT list_contains($1::VARCHAR[], user_id)" if table in without else ""
            values = [without[table]] if table in without else []
            connection.execute(f"INSERT INTO new.{name} SELECT * FROM old.{name}{kept}", values)  # noqa: S608
        connection.execute("CHECKPOINT new")


def compact(path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Replace a database by a copy that holds its rows alone, no block of what was deleted.

    Args:
        connection: open on ``path`` for writing, which keeps every other process out until the rename.
    """
    own = connection.execute("SELECT current_database()").fetchall()[0][0]
    with temporary_path(path) as temporary, database_errors(path):
        connection.execute("ATTACH ? AS compacted", [str(temporary)])
        try:
            connection.execute(f"COPY FROM DATABASE {quote_identifier(own)} TO compacted")
            connection.execute("CHECKPOINT compacted")
        finally:
            connection.execute("DETACH compacted")
        temporary.chmod(path.stat().st_mode)
        temporary.replace(path)
