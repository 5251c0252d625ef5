"""Merge cleaned items into the warehouse with SQL over Arrow, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import sqlalchemy as sa

from semconv.clock import as_timestamp, utc_now
from semconv.columns import ATTRIBUTES, BRAND, CATEGORIES, DESCRIPTION, TITLE
from semconv_warehouse.store.database import merged_json, raw, registered

_VALUES = (TITLE, DESCRIPTION, BRAND, CATEGORIES, ATTRIBUTES)
# Selects the items whose row changes, with their values after the merge.
_CHANGED = """
CREATE OR REPLACE TEMP TABLE changed AS
SELECT item_id, {values}, item.is_available AS was_available
FROM item JOIN {incoming} AS n USING (item_id)
WHERE NOT item.is_available OR {differs}
"""
_NEW = """
INSERT INTO item (item_id, item_index, title, description, brand, categories, attributes)
SELECT item_id, (SELECT coalesce(max(item_index), -1) FROM item) + row_number() OVER (ORDER BY arrival),
       title, description, brand, categories, attributes
FROM {incoming} ANTI JOIN item USING (item_id)
ORDER BY arrival
"""
_UPDATE = """
UPDATE item SET title = c.title, description = c.description, brand = c.brand, categories = c.categories,
                attributes = c.attributes, is_available = true, removed_at = NULL
FROM changed AS c WHERE item.item_id = c.item_id
"""
_REMOVE = """
UPDATE item SET is_available = false, removed_at = $now
WHERE is_available AND item_id NOT IN (SELECT item_id FROM {present})
"""


@dataclass(frozen=True)
class ItemCounts:
    """The numbers of items that a merge added, updated, removed or restored. ``updated`` includes ``restored``."""

    added: int
    updated: int
    removed: int
    restored: int


def merge_items(
    connection: sa.Connection,
    rows: pa.Table,
    columns: Collection[str],
    *,
    snapshot: bool,
    present: pa.Table | None = None,
) -> ItemCounts:
    """Insert new items in the order of arrival and update known items.

    Args:
        columns: known columns that the files have. In a snapshot their missing values replace stored values.
        present: column ``item_id`` of the items that a snapshot has; all others are marked as removed. None removes none.
    """
    overwritten = {*columns, ATTRIBUTES} if snapshot else set()
    new = {name: f"n.{name}" if name in overwritten else f"coalesce(n.{name}, item.{name})" for name in _VALUES}
    # Arrow represents JSON as text.
    new[ATTRIBUTES] = "n.attributes::JSON" if snapshot else merged_json("item.attributes", "n.attributes")
    inner = raw(connection)
    with registered(connection, rows) as incoming:
        inner.execute(
            _CHANGED.format(
                incoming=incoming,
                values=", ".join(f"{value} AS {name}" for name, value in new.items()),
                differs=" OR ".join(f"item.{name} IS DISTINCT FROM {value}" for name, value in new.items()),
            )
        )
        updated, restored = inner.execute(
            "SELECT count(*), count(*) FILTER (NOT was_available) FROM changed"
        ).fetchall()[0]
        inner.execute(_UPDATE)
        added = inner.execute(_NEW.format(incoming=incoming)).fetchall()[0][0]
    removed = 0
    if present is not None:
        with registered(connection, present) as kept:
            now = as_timestamp(utc_now())
            removed = inner.execute(_REMOVE.format(present=kept), {"now": now}).fetchall()[0][0]
    return ItemCounts(added=added, updated=updated, removed=removed, restored=restored)
