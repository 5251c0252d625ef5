"""Load external lists, that is, top-K lists of other programs.

Their Parquet files are validated, then written as the part files of a recommend run. A file has the required columns of
``semconv.data.list_rows`` and may have the optional ones. All rows of a user must be in one file. So a program that
computed a user twice is noticed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from semconv.artifacts import atomic_path, private_path
from semconv.data.list_rows import LIST_COLUMNS, ListColumn
from semconv.errors import InputError
from semconv.modes import make_folder
from semconv_warehouse.publish.ordered_lists import create_in_order
from semconv_warehouse.store.database import DEFAULT_MEMORY_MB, database_errors, prepare_bulk, write_parquet
from semconv_warehouse.store.leftovers import spill_folder

PART_ROWS = 2_000_000
_EXAMPLES = 3
_REQUIRED = [column.name for column in LIST_COLUMNS if column.is_required]


def _is_string(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _is_list_of_strings(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_string(kind.value_type)


# SQL type of a column -> its name in messages, and a test of the Arrow types that are accepted for it.
_ACCEPTED: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "VARCHAR": ("a string", _is_string),
    "INTEGER": ("a whole number", pa.types.is_integer),
    "DOUBLE": ("a number", _is_number),
    "VARCHAR[]": ("a list of strings", _is_list_of_strings),
}

# Description of rows or users that break a rule -> a query of example texts. `list_row` is sorted by user and rank.
_VIOLATIONS = {
    f"rows with an empty {', '.join(_REQUIRED[:-1])} or {_REQUIRED[-1]}": f"""
        SELECT concat($files[file], ': user ', user_id, ' rank ', rank, ' item ', item_id) FROM list_row
        WHERE {" OR ".join(f"{name} IS NULL" for name in _REQUIRED)}""",  # noqa: S608
    "users unknown to the warehouse": """
        SELECT user_id FROM (SELECT DISTINCT user_id FROM list_row) WHERE user_id NOT IN (SELECT id FROM known_user)""",
    "items unknown to the warehouse": """
        SELECT item_id FROM (SELECT DISTINCT item_id FROM list_row) WHERE item_id NOT IN (SELECT id FROM known_item)""",
    "reason items unknown to the warehouse": """
        SELECT reason_item_id FROM (SELECT DISTINCT reason_item_id FROM list_row)
        WHERE reason_item_id NOT IN (SELECT id FROM known_item)""",
    "scores that are not finite": """
        SELECT concat('user ', user_id, ' rank ', rank, ': ', score) FROM list_row WHERE NOT isfinite(score)""",
    "users in more than one file": """
        SELECT concat(user_id, ' in ', $files[min(file)], ' and ', $files[max(file)]) FROM list_row
        GROUP BY user_id HAVING min(file) <> max(file)""",
    "users whose ranks do not run from 1 without gaps or duplicates": """
        WITH broken AS (
            SELECT DISTINCT user_id
            FROM (SELECT user_id, rank, lag(user_id) OVER () AS user_before, lag(rank) OVER () AS rank_before FROM list_row)
            WHERE rank IS DISTINCT FROM CASE WHEN user_before = user_id THEN rank_before + 1 ELSE 1 END
        )
        SELECT concat(user_id, ' has ', list(rank ORDER BY rank)::VARCHAR) FROM list_row SEMI JOIN broken USING (user_id)
        GROUP BY user_id""",
    # Counting the hashes of pairs takes a fraction of the memory that the pairs would take.
    "users with an item twice": """
        WITH suspect AS (
            SELECT pair FROM (SELECT hash(user_id, item_id) AS pair FROM list_row) GROUP BY pair HAVING count(*) > 1
        )
        SELECT concat(user_id, ' has ', item_id, ' ', count(*), ' times') FROM list_row
        WHERE hash(user_id, item_id) IN (SELECT pair FROM suspect)
        GROUP BY user_id, item_id HAVING count(*) > 1""",
}


@dataclass(frozen=True)
class KnownIds:
    """The ids of all items and users in the warehouse."""

    items: Sequence[str] | pa.ChunkedArray
    users: Sequence[str] | pa.ChunkedArray


def load_lists(
    files: Sequence[Path],
    known: KnownIds,
    folder: Path,
    *,
    memory_mb: int = DEFAULT_MEMORY_MB,
    part_rows: int = PART_ROWS,
) -> None:
    """Validate files of lists, and write them into a run folder as part files that are sorted by user and rank.

    Args:
        memory_mb: memory limit of DuckDB, which writes the rest to temporary files in ``folder``.
        part_rows: approximate number of rows in one part.

    Raises:
        InputError: no file is given, a file is unreadable, a column is missing or has a wrong type, or rows break a
            rule. The message has counts and examples, and nothing is written.
    """
    if not files:
        raise InputError("no files given; give one or more Parquet files of lists")
    if len({file.resolve() for file in files}) < len(files):
        raise InputError("a file is given twice; give each file once")
    held = {name for file in files for name in _checked_columns(file)}
    make_folder(folder)
    with _scratch(folder, memory_mb) as connection:
        for name, ids in (("known_item", known.items), ("known_user", known.users)):
            connection.register(name, pa.table({"id": ids}, schema=pa.schema([("id", pa.string())])))
        _read(connection, files, held)
        if not connection.execute("FROM list_row LIMIT 1").fetchall():
            raise InputError(f"{', '.join(map(str, files))}: no rows; give files with the lists of at least one user")
        _require_rules(connection, files)
        _write(connection, folder, part_rows)


@contextlib.contextmanager
def _scratch(folder: Path, memory_mb: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a temporary database on the disk, because the rows may not fit in memory."""
    with (
        private_path(folder / "load.duckdb") as path,
        database_errors(folder),
        duckdb.connect(str(path)) as connection,
    ):
        prepare_bulk(connection, memory_mb, spill_folder(path))
        yield connection


def _read(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], held: Collection[str]) -> None:
    """Create the table ``list_row``: the number of the file, then the columns, with defaults for missing ones."""
    values = ", ".join(f"{_value(column, held)} AS {column.name}" for column in LIST_COLUMNS)
    select = (
        f"SELECT list_position($files, filename)::INTEGER AS file, {values}"  # noqa: S608
        " FROM read_parquet($parts, union_by_name = true, filename = true, hive_partitioning = false)"
    )
    names = [str(file) for file in files]
    defaults = {column.name: column.default for column in LIST_COLUMNS if column.default is not None}
    try:
        create_in_order(connection, "list_row", select, names, {"files": names, **defaults})
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise InputError(
            f"{', '.join(names)}: cannot be read by DuckDB ({str(error).splitlines()[0]}); write the files again"
        ) from error


def _value(column: ListColumn, held: Collection[str]) -> str:
    # Wide enough for every integer of a file, so that a wrong rank is reported with its user and not by a failed cast.
    kind = "BIGINT" if column.sql_type == "INTEGER" else column.sql_type
    default = "NULL" if column.default is None else f"${column.name}"
    if column.name not in held:
        value = default
    else:
        value = column.name if column.default is None else f"coalesce({column.name}, {default})"
    return f"{value}::{kind}"


def _require_rules(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    broken = []
    for rule, examples in _VIOLATIONS.items():
        rows = connection.execute(
            f"SELECT example, count(*) OVER () FROM (\n{examples}\n) AS violation(example) ORDER BY example LIMIT {_EXAMPLES}",  # noqa: S608
            {"files": [str(file) for file in files]} if "$files" in examples else {},
        ).fetchall()
        if rows:
            broken.append(f"{rows[0][1]:,} {rule} ({'; '.join(str(row[0]) for row in rows)})")
    if broken:
        raise InputError(
            f"the lists failed these checks, so nothing was loaded: {' | '.join(broken)}; correct the files and load them again"
        )


def _write(connection: duckdb.DuckDBPyConnection, folder: Path, part_rows: int) -> None:
    for left in folder.glob("part-*.parquet"):
        left.unlink()
    # The table is sorted. Each part file begins with the first row of a user, so all rows of a user are in one file.
    firsts = [
        user
        for (user,) in connection.execute(
            "SELECT DISTINCT user_id FROM list_row WHERE rowid % $rows = 0 ORDER BY user_id", {"rows": part_rows}
        ).fetchall()
    ]
    columns = ", ".join(f"{column.name}::{column.sql_type} AS {column.name}" for column in LIST_COLUMNS)
    for number, (first, end) in enumerate(zip(firsts, [*firsts[1:], None], strict=True)):
        rows = connection.sql(
            f"SELECT {columns} FROM list_row WHERE user_id >= $first AND ($end IS NULL OR user_id < $end)",  # noqa: S608
            params={"first": first, "end": end},
        )
        with atomic_path(folder / f"part-{number:05d}.parquet") as temporary:
            write_parquet(rows, temporary)


def _checked_columns(file: Path) -> list[str]:
    try:
        schema = pq.read_schema(file)
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: not a readable Parquet file ({str(error).splitlines()[0]})") from error
    missing = [name for name in _REQUIRED if name not in schema.names]
    if missing:
        raise InputError(f"{file}: column {', '.join(missing)} is missing; lists need {', '.join(_REQUIRED)}")
    for column in LIST_COLUMNS:
        if column.name in schema.names and not _is_accepted(column, schema.field(column.name).type):
            kind, wanted = schema.field(column.name).type, _ACCEPTED[column.sql_type][0]
            raise InputError(f"{file}: column {column.name} is {kind}, must be {wanted}")
    return list(schema.names)


def _is_accepted(column: ListColumn, kind: pa.DataType) -> bool:
    # A column of nulls alone has no other type in Arrow.
    can_be_empty = not column.is_required and column.default is None
    return _ACCEPTED[column.sql_type][1](kind) or (can_be_empty and bool(pa.types.is_null(kind)))
