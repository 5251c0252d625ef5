"""Reading the warehouse's inputs as the arrays of ``semconv.data.store``; everything large passes through Arrow."""

from __future__ import annotations

from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from numpy.typing import NDArray

from semconv.data.store import Catalog, ItemFacets, Sequences
from semconv.errors import InputError, SettingsError
from semconv.ragged import offsets_of
from semconv_warehouse.store.database import raw

UNKNOWN_TIME: Final = np.iinfo(np.int64).min

_CATALOG = "SELECT item_id, title, description, is_available, item_index FROM item ORDER BY item_index"
_FACETS = "SELECT brand, categories FROM item ORDER BY item_index"
_USERS = "SELECT user_id, user_index FROM user_account ORDER BY user_index"
_INTERACTIONS = """
SELECT user_index, item_index, epoch_us(event_time) AS event_time, rating::FLOAT AS rating, {query}
FROM interaction JOIN user_account USING (user_id) JOIN item USING (item_id)
ORDER BY user_index, position
"""
# What a stage's result can depend on: not in_core (a stage's own remark) and not the moment of a removal.
_HASHED: Final = {
    "item": ("item_id", "item_index", "title", "description", "brand", "categories", "attributes", "is_available"),
    "interaction": ("user_id", "item_id", "event_time", "source_position", "position", "rating", "query"),
}


def read_arrow(connection: sa.Connection, sql: str, parameters: Any = None) -> pa.Table:
    """The result of one query as an Arrow table."""
    return raw(connection).sql(sql, params=parameters).to_arrow_table()


def read_catalog(connection: sa.Connection) -> Catalog:
    """All items in item_index order."""
    table = read_arrow(connection, _CATALOG)
    _check_dense(table["item_index"], "item")
    return Catalog(
        item_ids=table["item_id"].to_pylist(),
        titles=table["title"].to_pylist(),
        descriptions=table["description"].to_pylist(),
        is_servable=_numpy(table["is_available"]).astype(bool),
    )


def read_facets(connection: sa.Connection) -> ItemFacets:
    """Brand and categories in item_index order."""
    table = read_arrow(connection, _FACETS)
    return ItemFacets(brands=table["brand"].to_pylist(), categories=table["categories"].to_pylist())


def read_sequences(connection: sa.Connection, *, queries: bool) -> Sequences:
    """All users in user_index order with their interactions in position order."""
    users = read_arrow(connection, _USERS)
    _check_dense(users["user_index"], "user_account")
    table = read_arrow(connection, _INTERACTIONS.format(query="query" if queries else "NULL AS query"))
    counts = np.bincount(_numpy(table["user_index"]), minlength=users.num_rows)
    return Sequences(
        user_ids=users["user_id"].to_pylist(),
        offsets=offsets_of(counts),
        items=_numpy(table["item_index"]).astype(np.int32, copy=False),
        times=_numpy(pc.fill_null(table["event_time"], UNKNOWN_TIME)).astype(np.int64, copy=False),
        ratings=_numpy(pc.fill_null(table["rating"], float("nan"))).astype(np.float32, copy=False),
        queries=table["query"].to_pylist() if queries else None,
    )


def content_hash(connection: sa.Connection, table: str) -> str:
    """A hash over the rows of ``item`` or ``interaction`` in any order; duplicate rows count."""
    columns = ", ".join(_HASHED[table])
    sql = (
        "SELECT count(*), coalesce(bit_xor(h), 0), coalesce(sum(h::HUGEINT), 0)"  # noqa: S608
        f" FROM (SELECT hash({columns}) AS h FROM {table})"
    )
    count, combined, total = raw(connection).execute(sql).fetchall()[0]
    return f"{count:x}-{combined:016x}-{total:x}"


def allowed_items(connection: sa.Connection, where: str) -> NDArray[np.bool_]:
    """``(I,)`` items for which a user's SQL condition on ``item`` is true; the connection must be read-only.

    Raises:
        SettingsError: it is no condition on the table ``item``.
    """
    inner = raw(connection)
    inner.execute("SET enable_external_access = false")  # a filter looks at the table item, at no file
    sql = f"SELECT item_index, (\n{where.strip() or 'true'}\n) AS allowed FROM item"  # noqa: S608
    try:
        statements = inner.extract_statements(sql)
        if len(statements) != 1:
            raise SettingsError(
                f"the filter {where!r} is more than one statement; give one condition on the table item"
            )
        relation = inner.sql(sql)
        if relation.columns != ["item_index", "allowed"] or str(relation.types[1]) != "BOOLEAN":
            raise SettingsError(
                f"the filter {where!r} is not a condition; write one that is true or false for each item"
            )
        table = relation.to_arrow_table()
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise SettingsError(f"the filter {where!r} is not a condition on the table item: {reason}") from error
    # Rows other than one an item (a join smuggled in) would set a place twice, never outside.
    allowed = np.zeros(inner.execute("SELECT count(*) FROM item").fetchall()[0][0], dtype=bool)
    allowed[_numpy(table["item_index"])] = _numpy(pc.fill_null(table["allowed"], False))
    return allowed


def _numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    array: NDArray[Any] = column.combine_chunks().to_numpy(zero_copy_only=False)
    return array


def _check_dense(index: pa.ChunkedArray, table: str) -> None:
    if not np.array_equal(_numpy(index), np.arange(len(index))):
        raise InputError(f"the table {table}: its index is not dense from 0; the warehouse was changed from outside")
