"""Read items and interactions of the warehouse as the arrays of ``semconv.data.store``."""

from __future__ import annotations

from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from numpy.typing import NDArray

from semconv.data.store import UNKNOWN_TIME, Catalog, ItemFacets, Sequences
from semconv.errors import InputError, SettingsError
from semconv.ragged import offsets_of
from semconv_warehouse.store.database import raw
from semconv_warehouse.store.statements import close, require_reading

_CATALOG = "SELECT item_id, title, description, is_available, item_index FROM item ORDER BY item_index"
_FACETS = "SELECT brand, categories FROM item ORDER BY item_index"
_USERS = "SELECT user_id, user_index FROM user_account ORDER BY user_index"
_TYPES = "SELECT DISTINCT event_type FROM interaction WHERE event_type IS NOT NULL ORDER BY event_type"
_QUERY = "SELECT query FROM interaction WHERE trim(query) <> '' LIMIT 1"
_INTERACTIONS = """
SELECT user_index, item_index, epoch_us(event_time) AS event_time, rating::FLOAT AS rating{columns}
FROM interaction JOIN user_account USING (user_id) JOIN item USING (item_id)
ORDER BY user_index, position
"""
# The columns that a stage's result can depend on: not in_core, which a stage writes, and not removed_at.
_HASHED: Final = {
    "item": ("item_id", "item_index", "title", "description", "brand", "categories", "attributes", "is_available"),
    "interaction": ("user_id", "item_id", "event_time", "source_position", "position", "rating", "query"),
    "user_profile": ("user_id", "market", "attributes"),
}


def read_arrow(connection: sa.Connection, sql: str, parameters: Any = None) -> pa.Table:
    """Return the result of one SQL query as an Arrow table."""
    return raw(connection).sql(sql, params=parameters).to_arrow_table()


def read_catalog(connection: sa.Connection) -> Catalog:
    """Return all items in item_index order."""
    table = read_arrow(connection, _CATALOG)
    _check_dense(table["item_index"], "item")
    return Catalog(
        item_ids=table["item_id"].to_pylist(),
        titles=table["title"].to_pylist(),
        descriptions=table["description"].to_pylist(),
        is_servable=_numpy(table["is_available"]).astype(bool),
    )


def read_facets(connection: sa.Connection) -> ItemFacets:
    """Return brand and categories of all items in item_index order."""
    table = read_arrow(connection, _FACETS)
    return ItemFacets(brands=table["brand"].to_pylist(), categories=table["categories"].to_pylist())


def read_sequences(connection: sa.Connection, *, queries: bool) -> Sequences:
    """Return all users in user_index order with their events in position order."""
    users = read_arrow(connection, _USERS)
    _check_dense(users["user_index"], "user_account")
    names = read_types(connection)
    columns = ["query"] if queries else []
    parameters = None
    if names:
        columns.append("(coalesce(list_position($names, event_type), 0) - 1)::SMALLINT AS type")
        parameters = {"names": list(names)}
    table = read_arrow(
        connection, _INTERACTIONS.format(columns="".join(f", {column}" for column in columns)), parameters
    )
    counts = np.bincount(_numpy(table["user_index"]), minlength=users.num_rows)
    return Sequences(
        user_ids=users["user_id"].to_pylist(),
        offsets=offsets_of(counts),
        items=_numpy(table["item_index"]).astype(np.int32, copy=False),
        times=_numpy(pc.fill_null(table["event_time"], UNKNOWN_TIME)).astype(np.int64, copy=False),
        ratings=_numpy(pc.fill_null(table["rating"], float("nan"))).astype(np.float32, copy=False),
        queries=table["query"].to_pylist() if queries else None,
        types=_numpy(table["type"]) if names else None,
        type_names=names,
    )


def has_queries(connection: sa.Connection) -> bool:
    """Return whether any interaction has a query that is not blank."""
    return bool(read_arrow(connection, _QUERY).num_rows)


def read_types(connection: sa.Connection) -> tuple[str, ...]:
    """Return the types of the stored events, sorted; empty if no event has a type."""
    return tuple(read_arrow(connection, _TYPES)["event_type"].to_pylist())


def content_hash(connection: sa.Connection, table: str) -> str:
    """Return a hash over the rows of ``item``, ``interaction`` or ``user_profile``, in any order; duplicate rows change the hash.

    Events without a type have the same hash as before events had types, so runs on them are still reused.
    """
    columns = ", ".join(_HASHED[table])
    value = f"hash({columns})"
    if table == "interaction":
        value = f"CASE WHEN event_type IS NULL THEN {value} ELSE hash({columns}, event_type) END"
    sql = (
        "SELECT count(*), coalesce(bit_xor(h), 0), coalesce(sum(h::HUGEINT), 0)"  # noqa: S608
        f" FROM (SELECT {value} AS h FROM {table})"
    )
    count, combined, total = raw(connection).execute(sql).fetchall()[0]
    return f"{count:x}-{combined:016x}-{total:x}{_repeats(connection) if table == 'interaction' else ''}"


def _repeats(connection: sa.Connection) -> str:
    """Return a mark for events of which some repeat a user and an item: earlier versions did not collapse them."""
    sql = "SELECT count(DISTINCT hash(user_id, item_id)) < count(*) FROM interaction"
    return "-repeats" if raw(connection).execute(sql).fetchall()[0][0] else ""


def allowed_items(connection: sa.Connection, where: str) -> NDArray[np.bool_]:
    """Return whether each item meets a user's SQL condition, ``(I,)``. ``connection`` must be read-only.

    Raises:
        SettingsError: the text is not a condition on the table ``item``.
    """
    inner = raw(connection)
    close(inner)
    sql = f"SELECT item_index, (\n{where.strip() or 'true'}\n) AS allowed FROM item"  # noqa: S608
    try:
        relation = inner.sql(require_reading(inner, sql))
        if relation.columns != ["item_index", "allowed"] or str(relation.types[1]) != "BOOLEAN":
            raise SettingsError("it is not true or false for each item")
        table = relation.to_arrow_table()
    except (duckdb.Error, SettingsError) as error:
        reason = str(error).partition("\n")[0]
        raise SettingsError(
            f"the filter {where!r} is not a condition on the table item ({reason}); correct it"
        ) from error
    # If a malicious filter adds a join, an item may come twice. It is then set twice, which does no harm.
    allowed = np.zeros(inner.execute("SELECT count(*) FROM item").fetchall()[0][0], dtype=bool)
    allowed[_numpy(table["item_index"])] = _numpy(pc.fill_null(table["allowed"], False))
    return allowed


def _numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    array: NDArray[Any] = column.combine_chunks().to_numpy(zero_copy_only=False)
    return array


def _check_dense(index: pa.ChunkedArray, table: str) -> None:
    if not np.array_equal(_numpy(index), np.arange(len(index))):
        raise InputError(
            f"the table {table}: its index does not count from 0 without gaps, so another program changed the warehouse; "
            "restore a backup"
        )
