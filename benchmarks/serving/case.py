"""The project for publishing and lookups: many users with external lists.

Ids look like Amazon's, with 14 characters for users and ten for items. They come in no order, so that no table is sorted
by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from semconv_warehouse.project import Project
from semconv_warehouse.store.database import raw

TOP_K, HISTORY = 20, 4

_IDS = """
CREATE OR REPLACE TEMP MACRO user_of(number) AS 'A' || upper(substr(md5('u' || number), 1, 13));
CREATE OR REPLACE TEMP MACRO item_of(number) AS 'B' || upper(substr(md5('i' || number), 1, 9));
"""
# Histories and lists are steps on a ring of items. So no list has an item twice, or an item of the history.
_ROWS = {
    "item": """
        INSERT INTO item BY NAME SELECT item_of(i) AS item_id, i AS item_index, 'Title of ' || i AS title FROM range($items) r(i)""",
    "user_account": """
        INSERT INTO user_account BY NAME SELECT user_of(u) AS user_id, u AS user_index FROM range($users) r(u)""",
    "interaction": """
        INSERT INTO interaction BY NAME
        SELECT user_of(u) AS user_id, item_of((u * 7919 + p) % $items) AS item_id, p AS position,
            TIMESTAMP '2026-01-01' + to_seconds(u + p) AS event_time
        FROM range($users) r(u), range($history) q(p)""",
}
_PART = """
SELECT user_of(u) AS user_id, k::INTEGER AS rank, item_of((u * 7919 + $history + $step + k * 37) % $items) AS item_id,
    -ln(k + (u % 97) / 100) AS score, CASE WHEN k % 3 = 0 THEN ['model', 'transition'] ELSE ['model'] END AS sources,
    item_of((u * 7919 + k % $history) % $items) AS reason_item_id
FROM range($first::BIGINT, $last::BIGINT) r(u), range(1, $top_k + 1) q(k)
"""


@dataclass(frozen=True)
class Case:
    """The size of a project."""

    users: int
    items: int = 50_000
    part_users: int = 100_000

    @property
    def rows(self) -> int:
        """Rows of all lists."""
        return self.users * TOP_K


def make_project(folder: Path, case: Case) -> Project:
    """Make a project with items, users and histories, without lists."""
    project = Project.open(Project.init(folder).root)
    numbers = {"items": case.items, "users": case.users, "history": HISTORY}
    with project.store.write() as session:
        connection = raw(session)
        connection.execute(_IDS)
        for rows in _ROWS.values():
            connection.execute(rows, {name: value for name, value in numbers.items() if f"${name}" in rows})
    return project


def write_parts(folder: Path, case: Case, step: int = 0) -> list[Path]:
    """Write the top 20 of all users, one Parquet file for each ``part_users``. Another ``step`` gives other lists."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(_IDS)
        for first in range(0, case.users, case.part_users):
            last = min(first + case.part_users, case.users)
            values = {
                "first": first,
                "last": last,
                "top_k": TOP_K,
                "history": HISTORY,
                "items": case.items,
                "step": step,
            }
            path = folder / f"{step:03d}-{first:08d}.parquet"
            connection.sql(_PART, params=values).write_parquet(str(path), compression="zstd")
            parts.append(path)
    return parts
