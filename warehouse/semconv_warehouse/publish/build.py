"""Write a generation file: lists, codes, vectors and metrics that belong together, with SQL views and macros.

Rows are copied only in bulk, by ``read_parquet`` and ``CREATE TABLE AS``. The warehouse is open, read-only, while its
tables are copied. It is closed while the lists are sorted and checked.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from semconv.data.event_rules import EventRules
from semconv.data.list_rows import LIST_COLUMNS
from semconv.errors import CheckFailedError, InputError
from semconv.runs.digests import require_parts
from semconv.runs.files import part_files
from semconv_warehouse.publish.checks import CheckResult, require_passed, run_checks
from semconv_warehouse.publish.generation_files import is_undamaged, require_alone
from semconv_warehouse.publish.ordered_lists import create_in_order
from semconv_warehouse.publish.plan import GenerationPlan
from semconv_warehouse.publish.sql_files import sql_files
from semconv_warehouse.store.database import PUBLISHED_STORAGE, database_errors, prepare_bulk, raw
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout, package_folder
from semconv_warehouse.store.leftovers import spill_folder

HISTORY_ITEMS = 20  # the latest of each user, in the table `user_history`
# Checks that a publish does not repeat on the new file: its histories are a part of the interactions, which it has checked.
_IMPLIED = ("seen_item_recommended",)
# Checks that are left out for new lists whose order was verified while they were copied.
_ORDER_CHECKS = ("generation_rank_gap",)

_COLUMNS = ", ".join(f"{column.name}::{column.sql_type} AS {column.name}" for column in LIST_COLUMNS)
_LISTS = f"SELECT $generation::BIGINT AS generation, {_COLUMNS} FROM read_parquet($parts)"  # noqa: S608

# A user without a new list keeps the served one, without items that were removed or that the user has had since.
_CARRY_OVER = """
CREATE OR REPLACE TABLE built.recommendation AS
WITH kept AS (
    SELECT old.* REPLACE ((row_number() OVER (PARTITION BY old.user_id ORDER BY old.rank))::INTEGER AS rank)
    FROM served.recommendation AS old
    SEMI JOIN (SELECT item_id FROM item WHERE is_available AND removed_at IS NULL) AS servable ON servable.item_id = old.item_id
    ANTI JOIN built.recommendation AS new ON new.user_id = old.user_id
    ANTI JOIN (
        SELECT user_id, item_id FROM interaction
        WHERE $masked AND (event_type IS NULL OR list_contains($masking_types::VARCHAR[], event_type))
    ) AS seen
        ON seen.user_id = old.user_id AND seen.item_id = old.item_id
)
SELECT * FROM built.recommendation
UNION ALL BY NAME
SELECT * REPLACE ($generation::BIGINT AS generation) FROM kept
ORDER BY user_id, rank
"""

# Table of a generation file -> the query of its rows in the warehouse. {width} is the length of the vectors.
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
        SELECT $generation::BIGINT AS generation, user_id, position, item_id, event_time, rating, event_type
        FROM interaction JOIN (SELECT user_id, max(position) AS last FROM interaction GROUP BY user_id) USING (user_id)
        WHERE position > last - $history_items ORDER BY user_id, position""",
    "user_profile": "SELECT $generation::BIGINT AS generation, * FROM user_profile ORDER BY user_id",
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
class Build:
    """The inputs of one generation file."""

    plan: GenerationPlan
    generation: int
    published_at: datetime  # UTC
    served: Path | None  # the served generation file; users without a new list keep their list from it
    memory_mb: int  # memory limit of DuckDB, which writes the rest to temporary files beside the new file

    @property
    def carries_over(self) -> bool:
        """Whether lists of the served generation are copied into the new one."""
        return self.plan.carries_over and self.served is not None


def build_generation(layout: ProjectLayout, store: DuckDBStore, build: Build, target: Path) -> None:
    """Write a generation file to ``target`` and check it. No other file changes.

    Raises:
        InputError: part files of the lists are missing or unreadable.
            Or rows break a rule, and a killed `semconv forget` is not finished.
        CheckFailedError: rows break a rule; the message names each check with examples.
        LockedError: another process writes to the warehouse.
    """
    with _open(target, build.memory_mb) as connection:
        is_in_order = _write_recommendation(connection, layout, build) and not build.carries_over
    results = _copy_from_warehouse(store, build, target)
    with _open(target, build.memory_mb) as connection:
        connection.execute(
            _INFO,
            {
                "generation": build.generation,
                "run_ids": json.dumps(build.plan.run_ids),
                "fingerprint": build.plan.fingerprint,
                "published_at": build.published_at,
            },
        )
        for view in sql_files(package_folder("sql") / "views", "generation"):
            connection.execute(view.statement.replace("$generation", str(build.generation)))
        results += run_checks(connection, "generation", skip=_IMPLIED + (_ORDER_CHECKS if is_in_order else ()))
        refusal = f"generation {build.generation} of run {build.plan.recommend.run_id} was not published, and the served one stays"
        if layout.forgetting.exists() and not all(result.passed for result in results):
            # The examples of a failed check would name the user who is being erased.
            raise InputError(
                f"{refusal}: a `semconv forget` was killed before it had erased a user; run the same command again first"
            )
        require_passed(results, f"{refusal}; compute new lists with `semconv recommend`")
        connection.execute("CHECKPOINT")


@contextlib.contextmanager
def _open(path: Path, memory_mb: int) -> Iterator[duckdb.DuckDBPyConnection]:
    with database_errors(path), _connected(path) as connection:
        prepare_bulk(connection, memory_mb, spill_folder(path))
        yield connection


def _connected(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a generation file for writing; a new one gets a file format that older clients read."""
    return duckdb.connect(str(path), config={"storage_compatibility_version": PUBLISHED_STORAGE})


def _write_recommendation(connection: duckdb.DuckDBPyConnection, layout: ProjectLayout, build: Build) -> bool:
    """Write the table of new lists; return whether a scan has shown that they are in order and ranks start at 1."""
    run = build.plan.recommend
    folder = layout.root / run.artifact_path
    parts = [str(path) for path in part_files(folder)]
    if not parts:
        raise InputError(f"{folder}: no part files of run {run.run_id} are left; run `semconv recommend` again")
    require_parts(folder)
    try:
        is_in_order = create_in_order(connection, "recommendation", _LISTS, parts, {"generation": build.generation})
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise InputError(
            f"{folder}: a part file is damaged ({str(error).splitlines()[0]}); remove this folder and run `semconv recommend` again"
        ) from error
    if connection.execute("SELECT count(*) FROM recommendation").fetchone() == (0,) and not build.plan.carries_over:
        raise InputError(
            f"{folder}: run {run.run_id} recommended nothing to any user, so nothing can be published; check which items "
            "are available and the setting recommend.where"
        )
    return is_in_order


def _copy_from_warehouse(store: DuckDBStore, build: Build, target: Path) -> list[CheckResult]:
    """Copy tables of the warehouse into the new file, and run the checks that compare the two databases."""
    with store.read() as session:
        connection = raw(session)
        prepare_bulk(connection, build.memory_mb, spill_folder(target))
        connection.execute("ATTACH ? AS built (READ_WRITE)", [str(target)])
        try:
            if build.carries_over and build.served is not None:
                _carry_over(connection, build.served, build)
            _copy_tables(connection, build)
            connection.execute("USE built")
            return run_checks(connection, "publish")
        finally:
            # Detached, because all connections of this process to the warehouse share its attached files.
            with database_errors(target):  # DETACH writes the last pages of the file
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
    settings = build.plan.recommend.settings
    masks = settings.get("recommend", {})
    rules = EventRules.of(settings.get("events", {}), masks.get("seen_types", ()))
    names = connection.execute(
        "SELECT DISTINCT event_type FROM interaction WHERE event_type IS NOT NULL ORDER BY ALL"
    ).fetchall()
    require_alone(served)
    values = {
        "generation": build.generation,
        "masked": masks.get("seen", "masked") == "masked" and not masks.get("seen_days"),
        "masking_types": [name for (name,) in names if rules.masks(name)],
    }
    try:
        connection.execute("ATTACH ? AS served (READ_ONLY)", [str(served)])
        connection.execute(_CARRY_OVER, values)
        connection.execute("DETACH served")
    except duckdb.Error as error:
        if is_undamaged(served):
            raise
        raise lost_lists(served) from error


def lost_lists(served: Path) -> InputError:
    """Return the error for lists of some users if the served lists of the others cannot be read."""
    return InputError(
        f"{served}: missing or damaged, so the lists of the users without a new list cannot be kept; `semconv recommend`"
        " makes lists for all users, and `semconv publish --rollback` serves an earlier generation"
    )


def _vector_width(connection: duckdb.DuckDBPyConnection, run_id: str | None) -> int:
    """Return the length of the vectors of a run, or 1 if it has none; CheckFailedError if their lengths differ."""
    widths = connection.execute(
        "SELECT DISTINCT len(vector) FROM (SELECT run_id, vector FROM item_embedding UNION ALL SELECT run_id, vector FROM user_embedding)"
        " WHERE run_id = ? ORDER BY 1",
        [run_id],
    ).fetchall()
    if len(widths) > 1:
        raise CheckFailedError(
            f"vectors of run {run_id} have {len(widths)} different lengths ({widths}); run `semconv embed behavior` again"
        )
    return int(widths[0][0]) if widths else 1
