"""Top-K lists made elsewhere: Parquet parts validated whole, then written as the parts of a recommend run.

A part holds ``user_id``, ``rank`` (from 1), ``item_id``, ``score`` and may hold ``sources`` and
``reason_item_id``. All lists of a user lie in one part, so that a repeated or overlapping job shows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from semconv.artifacts import atomic_path
from semconv.columns import ITEM_ID, RANK, REASON_ITEM_ID, SCORE, SOURCES, USER_ID
from semconv.errors import InputError
from semconv.runs.files import part_file, part_files
from semconv_warehouse.publish.generation_files import temporary_path
from semconv_warehouse.publish.ordered_lists import create_in_order
from semconv_warehouse.store.database import DEFAULT_MEMORY_MB, database_errors, prepare_bulk

SOURCE_EXTERNAL = "external"  # who proposed a row, where the part does not say
PART_ROWS = 2_000_000
_EXAMPLES = 3


@dataclass(frozen=True)
class LoadedParts:
    """What was taken in."""

    num_rows: int
    num_users: int
    files: tuple[Path, ...]  # as written, in order of user and rank from the first to the last


def _is_string(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


_REQUIRED = {
    USER_ID: ("a string", _is_string),
    RANK: ("a whole number", pa.types.is_integer),
    ITEM_ID: ("a string", _is_string),
    SCORE: (
        "a number",
        lambda kind: pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind),
    ),
}
_OPTIONAL = {
    SOURCES: ("a list of strings", lambda kind: _is_list(kind) and _is_string(kind.value_type)),
    REASON_ITEM_ID: ("a string", lambda kind: _is_string(kind) or pa.types.is_null(kind)),
}

# What a row or a user breaks -> SELECT of an example text, one row a violation. `part` is in order of user and rank.
_VIOLATIONS = {
    "rows with an empty user_id, rank, item_id or score": """
        SELECT concat($files[file], ': user ', user_id, ' rank ', rank, ' item ', item_id) FROM part
        WHERE user_id IS NULL OR rank IS NULL OR item_id IS NULL OR score IS NULL""",
    "users unknown to the warehouse": """
        SELECT user_id FROM (SELECT DISTINCT user_id FROM part) WHERE user_id NOT IN (SELECT id FROM known_user)""",
    "items unknown to the warehouse": """
        SELECT item_id FROM (SELECT DISTINCT item_id FROM part) WHERE item_id NOT IN (SELECT id FROM known_item)""",
    "reason items unknown to the warehouse": """
        SELECT reason_item_id FROM (SELECT DISTINCT reason_item_id FROM part)
        WHERE reason_item_id NOT IN (SELECT id FROM known_item)""",
    "scores that are not finite": """
        SELECT concat('user ', user_id, ' rank ', rank, ': ', score) FROM part WHERE NOT isfinite(score)""",
    "users in more than one part": """
        SELECT concat(user_id, ' in ', $files[min(file)], ' and ', $files[max(file)]) FROM part
        GROUP BY user_id HAVING min(file) <> max(file)""",
    "users whose ranks do not run from 1 without gaps or doubles": """
        WITH broken AS (
            SELECT DISTINCT user_id
            FROM (SELECT user_id, rank, lag(user_id) OVER () AS user_before, lag(rank) OVER () AS rank_before FROM part)
            WHERE rank IS DISTINCT FROM CASE WHEN user_before = user_id THEN rank_before + 1 ELSE 1 END
        )
        SELECT concat(user_id, ' has ', list(rank ORDER BY rank)::VARCHAR) FROM part SEMI JOIN broken USING (user_id)
        GROUP BY user_id""",
    # Pairs are counted by their hash, which takes a fraction of their room.
    "users with an item twice": """
        WITH suspect AS (
            SELECT pair FROM (SELECT hash(user_id, item_id) AS pair FROM part) GROUP BY pair HAVING count(*) > 1
        )
        SELECT concat(user_id, ' has ', item_id, ' ', count(*), ' times') FROM part
        WHERE hash(user_id, item_id) IN (SELECT pair FROM suspect)
        GROUP BY user_id, item_id HAVING count(*) > 1""",
}


@dataclass(frozen=True)
class KnownIds:
    """Every id of the warehouse."""

    items: Sequence[str] | pa.ChunkedArray
    users: Sequence[str] | pa.ChunkedArray


def load_parts(
    files: Sequence[Path],
    known: KnownIds,
    folder: Path,
    *,
    memory_mb: int = DEFAULT_MEMORY_MB,
    part_rows: int = PART_ROWS,
) -> LoadedParts:
    """Validate parts and write them into a run folder, ``part-00000.parquet`` and on, in order of user and rank throughout.

    Args:
        memory_mb: what DuckDB may take; the rest goes to files in ``folder``.
        part_rows: about so many rows are written into one file.
    Raises:
        InputError: no file, an unreadable one, a missing or wrong column, or rows that break a rule, with counts
            and examples; nothing is written then.
    """
    if not files:
        raise InputError("no parts given; name one or more Parquet files")
    if len({file.resolve() for file in files}) < len(files):
        raise InputError("a part is named twice; name each file once")
    columns = [name for file in files for name in _checked_columns(file)]
    folder.mkdir(parents=True, exist_ok=True)
    with _scratch(folder, memory_mb) as connection:
        for name, ids in (("known_item", known.items), ("known_user", known.users)):
            connection.register(name, pa.table({"id": ids}, schema=pa.schema([("id", pa.string())])))
        _read(connection, files, columns)
        found = connection.execute("SELECT count(*), count(DISTINCT user_id) FROM part").fetchone() or (0, 0)
        if found[0] == 0:
            raise InputError(f"{', '.join(map(str, files))}: no rows; a part holds at least one user's list")
        _require_rules(connection, files)
        return LoadedParts(found[0], found[1], _write(connection, folder, part_rows))


@contextlib.contextmanager
def _scratch(folder: Path, memory_mb: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database for the time of the work, on the disk, since the rows may be more than memory holds."""
    with (
        temporary_path(folder / "load.duckdb") as path,
        database_errors(folder),
        duckdb.connect(str(path)) as connection,
    ):
        prepare_bulk(connection, memory_mb, path.with_name(f"{path.name}.tmp"))
        yield connection


def _read(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], columns: Sequence[str]) -> None:
    sources = f"coalesce(sources, ['{SOURCE_EXTERNAL}'])" if SOURCES in columns else f"['{SOURCE_EXTERNAL}']"
    reason = REASON_ITEM_ID if REASON_ITEM_ID in columns else "NULL"
    names = [str(file) for file in files]
    select = (
        "SELECT list_position($files, filename)::INTEGER AS file, user_id::VARCHAR AS user_id, rank::BIGINT AS rank,"  # noqa: S608
        f" item_id::VARCHAR AS item_id, score::DOUBLE AS score, {sources} AS sources, {reason}::VARCHAR AS reason_item_id"
        " FROM read_parquet($parts, union_by_name = true, filename = true, hive_partitioning = false)"
    )
    try:
        create_in_order(connection, "part", select, names, {"files": names})
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise InputError(f"a part cannot be read ({str(error).splitlines()[0]})") from error


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
        raise InputError(f"the parts are refused, nothing was taken in: {' | '.join(broken)}")


def _write(connection: duckdb.DuckDBPyConnection, folder: Path, part_rows: int) -> tuple[Path, ...]:
    for left in part_files(folder):
        left.unlink()
    # The table is in order, so the user of every so manieth row begins a file, with all of that user's rows.
    firsts = [
        user
        for (user,) in connection.execute(
            "SELECT DISTINCT user_id FROM part WHERE rowid % $rows = 0 ORDER BY user_id", {"rows": part_rows}
        ).fetchall()
    ]
    written = []
    for number, (first, end) in enumerate(zip(firsts, [*firsts[1:], None], strict=True)):
        rows = connection.sql(
            "SELECT user_id, rank::INTEGER AS rank, item_id, score, sources, reason_item_id FROM part"
            " WHERE user_id >= $first AND ($end IS NULL OR user_id < $end)",
            params={"first": first, "end": end},
        )
        path = folder / part_file(number)
        with atomic_path(path) as temporary:
            rows.write_parquet(str(temporary), compression="zstd")
        written.append(path)
    return tuple(written)


def _checked_columns(file: Path) -> list[str]:
    try:
        schema = pq.read_schema(file)
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: not a readable Parquet file ({str(error).splitlines()[0]})") from error
    missing = [name for name in _REQUIRED if name not in schema.names]
    if missing:
        raise InputError(f"{file}: column {', '.join(missing)} is missing; a part has {', '.join(_REQUIRED)}")
    for name, (wanted, accepts) in {**_REQUIRED, **_OPTIONAL}.items():
        if name in schema.names and not accepts(schema.field(name).type):
            raise InputError(f"{file}: column {name} is {schema.field(name).type}, must be {wanted}")
    return list(schema.names)
