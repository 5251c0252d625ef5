"""Writing one generation file: one consistent set of codes, vectors, lists and figures, with views and macros.

Bulk only: ``read_parquet`` and ``CREATE TABLE AS``. The warehouse is open, read-only, for the copy
of its tables alone, not while the lists are sorted or checked.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from semconv.artifacts import machine_errors
from semconv.errors import CheckFailedError, InputError
from semconv.runs.digests import require_parts
from semconv.runs.files import part_files
from semconv_warehouse.publish.checks import CheckResult, require, run_checks, sql_files
from semconv_warehouse.publish.ordered_lists import create_in_order
from semconv_warehouse.publish.plan import GenerationPlan
from semconv_warehouse.store.database import database_errors, prepare_bulk, quote_identifier, raw
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout, package_folder

HISTORY_ITEMS = 20  # of each user, the latest; what `user_history` holds
# Checks of a file alone that the same publish has covered: the history is a part of the interactions; new lists that
# were shown to be in order as they came in are so still.
_IMPLIED = ("generation_recent_item_recommended",)
_IN_ORDER = ("generation_rank_gap",)

_LISTS = """
SELECT
    $generation::BIGINT AS generation, user_id::VARCHAR AS user_id, rank::INTEGER AS rank, item_id::VARCHAR AS item_id,
    score::DOUBLE AS score, sources::VARCHAR[] AS sources, reason_item_id::VARCHAR AS reason_item_id
FROM read_parquet($parts)
"""

# Everybody who is not in the new parts keeps the served list, less what was removed or came into the history since.
_CARRY_OVER = """
CREATE OR REPLACE TABLE built.recommendation AS
WITH kept AS (
    SELECT old.* REPLACE ((row_number() OVER (PARTITION BY old.user_id ORDER BY old.rank))::INTEGER AS rank)
    FROM served.recommendation AS old
    SEMI JOIN (SELECT item_id FROM item WHERE is_available AND removed_at IS NULL) AS servable ON servable.item_id = old.item_id
    ANTI JOIN built.recommendation AS new ON new.user_id = old.user_id
    ANTI JOIN (SELECT user_id, item_id FROM interaction WHERE $masked) AS seen
        ON seen.user_id = old.user_id AND seen.item_id = old.item_id
)
SELECT * FROM built.recommendation
UNION ALL BY NAME
SELECT * REPLACE ($generation::BIGINT AS generation) FROM kept
ORDER BY user_id, rank
"""

# Table of a generation file -> its rows, from the warehouse; {width} is an integer.
_COPIES: Mapping[str, str] = {
    "item": "SELECT $generation::BIGINT AS generation, * FROM item ORDER BY item_id",
    "item_code": """
        SELECT $generation::BIGINT AS generation, * FROM item_code
        WHERE list_contains($code_runs::VARCHAR[], run_id) ORDER BY item_id""",
    "item_embedding": """
        SELECT $generation::BIGINT AS generation, * REPLACE (vector::FLOAT[{width}] AS vector) FROM item_embedding
        WHERE run_id = $embedding_run::VARCHAR OR list_contains($code_runs::VARCHAR[], run_id) ORDER BY item_id""",
    "user_embedding": """
        SELECT $generation::BIGINT AS generation, * REPLACE (vector::FLOAT[{width}] AS vector) FROM user_embedding
        WHERE run_id = $embedding_run::VARCHAR ORDER BY user_id""",
    "user_history": """
        SELECT $generation::BIGINT AS generation, user_id, position, item_id, event_time, rating
        FROM interaction JOIN (SELECT user_id, max(position) AS last FROM interaction GROUP BY user_id) USING (user_id)
        WHERE position > last - $history_items ORDER BY user_id, position""",
    "metric": """
        SELECT $generation::BIGINT AS generation, * FROM metric
        WHERE list_contains($evaluate_runs::VARCHAR[], run_id) ORDER BY run_id, method, name, k""",
    "run": """
        SELECT $generation::BIGINT AS generation, * FROM run
        WHERE list_contains($runs::VARCHAR[], run_id) ORDER BY started_at, run_id""",
}

_INFO = """
CREATE TABLE generation_info AS
SELECT $generation::BIGINT AS generation, $run_ids::JSON AS run_ids, $fingerprint::VARCHAR AS fingerprint,
    $published_at::TIMESTAMP AS published_at
"""


@dataclass(frozen=True)
class GenerationInfo:
    """What a generation file says of itself."""

    generation: int
    run_ids: Mapping[str, Any]
    published_at: datetime  # UTC, when it was first put in place


@dataclass(frozen=True)
class Build:
    """One file to be written."""

    plan: GenerationPlan
    generation: int
    published_at: datetime  # UTC
    served: Path | None  # the generation file in place, for lists that are carried over
    memory_mb: int  # what DuckDB may take; the rest goes to files beside the one that is written

    @property
    def carries_over(self) -> bool:
        """Whether rows of the served file come into this one."""
        return self.plan.carries_over and self.served is not None


def build_generation(layout: ProjectLayout, store: DuckDBStore, build: Build, target: Path) -> None:
    """Write and check a generation file at ``target``, closed and checkpointed; nothing else is touched.

    Raises:
        InputError: parts are missing or unreadable.
        CheckFailedError: offending rows; the message names each check with examples.
        LockedError: the warehouse is being written to.
    """
    with _open(target, build.memory_mb) as connection:
        are_in_order = _write_recommendation(connection, layout, build) and not build.carries_over
    results = _copy_from_warehouse(store, build, target)
    with _open(target, build.memory_mb) as connection:
        for view in sql_files(package_folder("sql") / "views", "generation"):
            connection.execute(view.statement)
        connection.execute(
            _INFO,
            {
                "generation": build.generation,
                "run_ids": json.dumps(build.plan.run_ids),
                "fingerprint": build.plan.fingerprint,
                "published_at": build.published_at,
            },
        )
        implied = _IMPLIED + (_IN_ORDER if are_in_order else ())
        results += run_checks(connection, package_folder("sql") / "checks", "generation", without=implied)
        require(
            results,
            f"generation {build.generation} of run {build.plan.recommend.run_id} was not published, what is served stays; "
            "`semconv recommend` makes new lists",
        )
        connection.execute("CHECKPOINT")


def seal(path: Path) -> None:
    """Make a finished file read-only by mode and sync it to the disk."""
    with machine_errors(path):
        path.chmod(0o444)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def read_info(path: Path) -> GenerationInfo:
    """What a generation file says of itself; InputError when it is none."""
    with open_generation(path) as connection:
        try:
            row = connection.execute("SELECT generation, run_ids, published_at FROM generation_info").fetchone()
        except duckdb.CatalogException as error:
            raise InputError(f"{path}: not a generation file of semconv; `semconv publish` makes one") from error
    if row is None:
        raise InputError(f"{path}: damaged, it does not say which generation it is; `semconv publish` makes a new one")
    return GenerationInfo(int(row[0]), json.loads(row[1]), row[2])


def require_whole(path: Path) -> None:
    """Read every row of a generation file, whose blocks carry checksums; InputError when one of them is damaged."""
    read_info(path)
    with open_generation(path) as connection:
        for (table,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            connection.execute(f"SELECT bit_xor(hash(COLUMNS(*))) FROM {quote_identifier(table)}").fetchall()  # noqa: S608


@contextlib.contextmanager
def open_generation(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A published file, read-only; InputError when it is missing or damaged."""
    if not path.exists():
        raise InputError(f"{path}: missing; `semconv publish` makes it")
    with database_errors(path), duckdb.connect(str(path), read_only=True) as connection:
        yield connection


@contextlib.contextmanager
def _open(path: Path, memory_mb: int) -> Iterator[duckdb.DuckDBPyConnection]:
    with database_errors(path), duckdb.connect(str(path)) as connection:
        prepare_bulk(connection, memory_mb, _spill(path))
        yield connection


def _spill(path: Path) -> Path:
    """DuckDB's own name for the folder beside a file that takes what memory does not; cleaned up with the file."""
    return path.with_name(f"{path.name}.tmp")


def _write_recommendation(connection: duckdb.DuckDBPyConnection, layout: ProjectLayout, build: Build) -> bool:
    """Whether the lists are known to be in order, ranks from 1; False where that is still to be seen."""
    run = build.plan.recommend
    folder = layout.root / run.artifact_path
    parts = [str(path) for path in part_files(folder)]
    if not parts:
        raise InputError(f"{folder}: no part of run {run.run_id} is left; run `semconv recommend` again")
    require_parts(folder)
    try:
        are_in_order = create_in_order(connection, "recommendation", _LISTS, parts, {"generation": build.generation})
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise InputError(
            f"{folder}: a part is damaged ({str(error).splitlines()[0]}); remove this folder and run `semconv recommend` again"
        ) from error
    if connection.execute("SELECT count(*) FROM recommendation").fetchone() == (0,) and not build.plan.carries_over:
        raise InputError(f"{folder}: run {run.run_id} recommended nothing to anybody; there is nothing to publish")
    return are_in_order


def _copy_from_warehouse(store: DuckDBStore, build: Build, target: Path) -> list[CheckResult]:
    """Copy the warehouse's tables into the file and run the checks that need both; the warehouse is open here alone."""
    with store.read() as session:
        connection = raw(session)
        prepare_bulk(connection, build.memory_mb, _spill(target))
        connection.execute("ATTACH ? AS built (READ_WRITE)", [str(target)])
        try:
            if build.carries_over and build.served is not None:
                _carry_over(connection, build.served, build)
            _copy_tables(connection, build)
            connection.execute("USE built")
            return run_checks(connection, package_folder("sql") / "checks", "publish")
        finally:
            # Other connections of this process to the warehouse share its attached files.
            with database_errors(target):  # writes what is left of it
                connection.execute("USE warehouse")
                connection.execute("DETACH built")


def _copy_tables(connection: duckdb.DuckDBPyConnection, build: Build) -> None:
    plan = build.plan
    values = {
        "code_runs": list(plan.code_runs),
        "embedding_run": plan.embedding_run,
        "evaluate_runs": list(plan.evaluate_runs),
        "runs": [run.run_id for run in plan.runs],
        "history_items": HISTORY_ITEMS,
        "generation": build.generation,
    }
    width = _vector_width(connection, plan.embedding_run)
    for table, rows in _COPIES.items():
        used = {name: value for name, value in values.items() if f"${name}" in rows}
        connection.execute(f"CREATE TABLE built.{table} AS {rows.format(width=width)}", used)


def _carry_over(connection: duckdb.DuckDBPyConnection, served: Path, build: Build) -> None:
    seen = build.plan.recommend.settings.get("recommend", {}).get("seen", "masked")
    connection.execute("ATTACH ? AS served (READ_ONLY)", [str(served)])
    connection.execute(_CARRY_OVER, {"generation": build.generation, "masked": seen == "masked"})
    connection.execute("DETACH served")


def _vector_width(connection: duckdb.DuckDBPyConnection, run_id: str | None) -> int:
    """The one width of a run's vectors, 1 when it has none."""
    widths = connection.execute(
        "SELECT DISTINCT len(vector) FROM (SELECT run_id, vector FROM item_embedding UNION ALL SELECT run_id, vector FROM user_embedding)"
        " WHERE run_id = ? ORDER BY 1",
        [run_id],
    ).fetchall()
    if len(widths) > 1:
        raise CheckFailedError(
            f"vectors of run {run_id} have {len(widths)} widths ({widths}); run `semconv embed behavior` again"
        )
    return int(widths[0][0]) if widths else 1
