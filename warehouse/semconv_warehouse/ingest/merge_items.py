"""Merging cleaned items into the warehouse: SQL over Arrow, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import sqlalchemy as sa

from semconv.columns import ATTRIBUTES, BRAND, CATEGORIES, DESCRIPTION, TITLE
from semconv_warehouse.store.database import raw, registered
from semconv_warehouse.store.run_table import utc_now

_VALUES = (TITLE, DESCRIPTION, BRAND, CATEGORIES, ATTRIBUTES)
# What an item would be after the merge, for those whose row changes.
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
WHERE is_available AND item_id NOT IN (SELECT item_id FROM {incoming})
"""


@dataclass(frozen=True)
class ItemCounts:
    """What a merge of items changed; restored ones are among the updated."""

    added: int
    updated: int
    removed: int
    restored: int


def merge_items(connection: sa.Connection, rows: pa.Table, columns: Collection[str], *, snapshot: bool) -> ItemCounts:
    """Insert new items in the order of arrival, update known ones; in a snapshot mark absent ones removed.

    Args:
        columns: those of ours that the files have; a snapshot empties them where the file does.
    """
    overwritten = {*columns, ATTRIBUTES} if snapshot else set()
    new = {name: f"n.{name}" if name in overwritten else f"coalesce(n.{name}, item.{name})" for name in _VALUES}
    # JSON passes from Arrow as text.
    new[ATTRIBUTES] = new[ATTRIBUTES].replace("n.attributes", "n.attributes::JSON")
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
        removed = (
            inner.execute(_REMOVE.format(incoming=incoming), {"now": utc_now()}).fetchall()[0][0] if snapshot else 0
        )
    return ItemCounts(added=added, updated=updated, removed=removed, restored=restored)
