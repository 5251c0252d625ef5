"""Merge cleaned interactions from a Parquet file into the warehouse with SQL, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import sqlalchemy as sa

from semconv.errors import InputError
from semconv_warehouse.store.database import one_file, prepare_bulk, raw

OrderBy = Literal["source_position", "event_time", "file"]

MEMORY_MB: Final = 512  # of DuckDB. With what Python and the readers take, an ingest stays below 1 GB.

_ROWS = "read_parquet($file, hive_partitioning = false)"
# The rows of the file without those that repeat an earlier one: a row with the same user, item, type and event_time; without
# a time, the same user, item, type and source_position. Equal rows without both are numbered in `occurrence`.
_INCOMING = """
CREATE OR REPLACE TEMP TABLE incoming AS
SELECT user_id, item_id, event_time, source_position, rating, query, event_type, arrival, row_number() OVER (
    PARTITION BY user_id, item_id, event_type, event_time, CASE WHEN event_time IS NULL THEN source_position END
    ORDER BY arrival
) AS occurrence
FROM {rows}
QUALIFY occurrence = 1 OR (event_time IS NULL AND source_position IS NULL)
"""
# If sequences are ordered by position, a user's rows with the same item, type and position are one event, whatever their
# times: the first row, with the time of the last row that has one.
_ONE_OF_POSITION = """(
    SELECT * REPLACE (last_value(event_time IGNORE NULLS) OVER (
        same ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    ) AS event_time)
    FROM read_parquet($file, hive_partitioning = false)
    WINDOW same AS (PARTITION BY user_id, item_id, event_type, source_position ORDER BY arrival)
    QUALIFY row_number() OVER same = 1
)"""
# The events whose time in the file differs from the stored one. They come from the file and not from `incoming`, which
# lacks an event whose new time another event of the same item has too.
_CORRECTED = f"""
CREATE OR REPLACE TEMP TABLE corrected AS
SELECT user_id, item_id, source_position, n.event_type, n.event_time
FROM (
    SELECT user_id, item_id, event_type, source_position, arg_max(event_time, arrival) AS event_time
    FROM {_ROWS}
    WHERE $is_correctable AND event_time IS NOT NULL
    GROUP BY user_id, item_id, event_type, source_position
) AS n
JOIN interaction AS e USING (user_id, item_id, source_position)
WHERE e.event_type IS NOT DISTINCT FROM n.event_type AND e.event_time IS DISTINCT FROM n.event_time
"""  # noqa: S608
# The stored rows with their corrected times. An UPDATE of the rows of a large log would not fit into the memory.
_KNOWN = """
CREATE OR REPLACE TEMP VIEW known AS
SELECT e.* REPLACE (coalesce(c.event_time, e.event_time) AS event_time)
FROM interaction AS e LEFT JOIN corrected AS c ON e.user_id = c.user_id AND e.item_id = c.item_id
  AND e.source_position = c.source_position AND e.event_type IS NOT DISTINCT FROM c.event_type
"""
_AFFECTED = """
CREATE OR REPLACE TEMP TABLE affected AS SELECT user_id FROM fresh UNION SELECT user_id FROM corrected
"""
_TYPES = """
SELECT event_type, count(*) FROM incoming WHERE event_type IS NOT NULL GROUP BY event_type ORDER BY event_type
"""
# The rows that the warehouse does not have, by the same rules. Of rows without time and position, occurrence n is a
# duplicate if the warehouse has at least n such rows.
_FRESH = """
CREATE OR REPLACE TEMP TABLE fresh AS
SELECT * EXCLUDE occurrence
FROM incoming AS n
WHERE NOT EXISTS (
    SELECT 1 FROM known e WHERE e.user_id = n.user_id AND e.item_id = n.item_id AND e.event_time = n.event_time
      AND e.event_type IS NOT DISTINCT FROM n.event_type
) AND NOT EXISTS (
    SELECT 1 FROM interaction e
    WHERE e.user_id = n.user_id AND e.item_id = n.item_id AND e.source_position = n.source_position
      AND e.event_type IS NOT DISTINCT FROM n.event_type AND ($by_position OR n.event_time IS NULL)
) AND (n.event_time IS NOT NULL OR n.source_position IS NOT NULL OR n.occurrence > coalesce((
    SELECT count(*) FROM interaction e
    WHERE e.user_id = n.user_id AND e.item_id = n.item_id AND e.event_time IS NULL AND e.source_position IS NULL
      AND e.event_type IS NOT DISTINCT FROM n.event_type
), 0))
"""
_FRESH_IN_EMPTY = "CREATE OR REPLACE TEMP VIEW fresh AS SELECT * EXCLUDE occurrence FROM incoming"
_TAKEN = """
SELECT count(*) OVER () AS conflicts, user_id, source_position, list(DISTINCT item_id ORDER BY item_id) AS items
FROM (
    SELECT user_id, source_position, item_id FROM fresh
    UNION ALL
    SELECT user_id, source_position, item_id FROM interaction SEMI JOIN fresh USING (user_id, source_position)
)
GROUP BY user_id, source_position HAVING count(DISTINCT item_id) > 1
ORDER BY user_id, source_position LIMIT 1
"""
_NEW_IDS = """
INSERT INTO {table} ({id}, {index})
SELECT {id}, (SELECT coalesce(max({index}), -1) FROM {table}) + row_number() OVER (ORDER BY first_arrival)
FROM (SELECT {id}, min(arrival) AS first_arrival FROM fresh ANTI JOIN {table} USING ({id}) GROUP BY {id})
ORDER BY first_arrival
"""
# Rows with equal values in the order column: stored rows keep their order, then new rows follow in file order.
_ORDERS: Final[dict[OrderBy, str]] = {
    "source_position": "source_position, position NULLS LAST, arrival",
    "event_time": "event_time, position NULLS LAST, arrival",
    "file": "position NULLS LAST, arrival",
}
_RENEWED = """
CREATE OR REPLACE TEMP TABLE renewed AS
SELECT user_id, item_id, event_time, source_position, rating, query, event_type,
       row_number() OVER (PARTITION BY user_id ORDER BY {order}) - 1 AS position
FROM (
    SELECT user_id, item_id, event_time, source_position, rating, query, event_type, position, NULL AS arrival
    FROM known SEMI JOIN affected USING (user_id)
    UNION ALL
    SELECT user_id, item_id, event_time, source_position, rating, query, event_type, NULL, arrival FROM fresh
)
"""
_INSERT = """
INSERT INTO interaction BY NAME
SELECT renewed.* FROM renewed JOIN user_account USING (user_id) ORDER BY user_index, position
"""
_ODD = f"""
SELECT
    (SELECT count(*) FROM item SEMI JOIN {_ROWS} USING (item_id) WHERE title IS NULL AND description IS NULL),
    (SELECT count(*) FROM (
        SELECT user_id FROM interaction SEMI JOIN {_ROWS} USING (user_id) GROUP BY user_id HAVING count(*) = 1))
"""  # noqa: S608


def stored_order(connection: sa.Connection) -> OrderBy | None:
    """Return the order of the sequences that the first ingest chose; None before the first ingest."""
    found = connection.execute(
        sa.text("SELECT value FROM project_setting WHERE name = 'order_by'")
    ).scalar_one_or_none()
    if found is not None and found not in get_args(OrderBy):
        raise InputError(
            f"the warehouse orders sequences by {found!r}, which this version of semconv does not know; install a newer one"
        )
    return found


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes:
        added: number of added rows.
        updated: number of stored rows whose time changed.
        types: event type -> number of rows that repeat no row of the file.
    """

    added: int
    updated: int
    types: Mapping[str, int]


def merge_interactions(connection: sa.Connection, rows: Path, order_by: OrderBy) -> Merged:
    """Add new rows, number new users and items in the order of arrival, and renumber the sequences of affected users.

    If sequences are ordered by position, correct the times of stored rows. The corrected times decide which rows are new.

    DuckDB takes at most MEMORY_MB for this, and writes what does not fit to temporary files beside the warehouse.

    Args:
        rows: a Parquet file with the columns of ``interaction`` but ``position``, and with ``arrival``.

    Raises:
        InputError: a user's position is already taken by another item, or another ingest has just chosen another order.
    """
    inner = raw(connection)
    prepare_bulk(inner, MEMORY_MB)
    by_position = order_by == "source_position"
    inner.execute(_INCOMING.format(rows=_ONE_OF_POSITION if by_position else _ROWS), {"file": one_file(rows)})
    types = dict(inner.execute(_TYPES).fetchall())
    is_first: bool = _one(inner, "SELECT NOT EXISTS (SELECT 1 FROM interaction)")
    inner.execute(_CORRECTED, {"file": one_file(rows), "is_correctable": by_position and not is_first})
    inner.execute(_KNOWN)
    if is_first:
        inner.execute(_FRESH_IN_EMPTY)
    else:
        inner.execute(_FRESH, {"by_position": by_position})
    fixed = stored_order(connection)
    if fixed is None:
        connection.execute(sa.text("INSERT INTO project_setting VALUES ('order_by', :value)"), {"value": order_by})
    elif fixed != order_by:
        raise InputError(f"another ingest has just chosen {fixed} as the order of this project; run this ingest again")
    added: int = _one(inner, "SELECT count(*) FROM fresh")
    updated: int = _one(inner, "SELECT count(*) FROM corrected")
    if added and by_position:
        _refuse_taken_positions(inner)
    if added or updated:
        inner.execute(_NEW_IDS.format(table="item", id="item_id", index="item_index"))
        inner.execute(_NEW_IDS.format(table="user_account", id="user_id", index="user_index"))
        inner.execute(_AFFECTED)
        inner.execute(_RENEWED.format(order=_ORDERS[order_by]))
        inner.execute("DELETE FROM interaction WHERE user_id IN (SELECT user_id FROM affected)")
        inner.execute(_INSERT)
    return Merged(added, updated, types)


def odd_interactions(connection: sa.Connection, rows: Path) -> dict[str, int]:
    """Count, among the items and users of a file, the items without metadata and the users with one interaction."""
    without_text, single = raw(connection).execute(_ODD, {"file": one_file(rows)}).fetchall()[0]
    return {"item ids without metadata": without_text, "users with one interaction": single}


def _refuse_taken_positions(inner: Any) -> None:
    found = inner.execute(_TAKEN).fetchall()
    if found:
        conflicts, user, position, items = found[0]
        raise InputError(
            f"{conflicts} positions have two items; the first is position {position} of user {user} "
            f"({' and '.join(items)}); give each position of a user to one item; nothing was changed"
        )


def _one(inner: Any, sql: str) -> Any:
    return inner.execute(sql).fetchall()[0][
        0
    ]  # Read all rows: a result that is not read to its end blocks the connection.
