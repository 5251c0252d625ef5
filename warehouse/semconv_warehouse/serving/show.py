"""Read one user or one item of the served generation, with titles."""

from __future__ import annotations

from typing import Any

import duckdb

from semconv.errors import InputError
from semconv_warehouse.serving.query import open_serving
from semconv_warehouse.store.layout import ProjectLayout

SIMILAR_ITEMS = 10


def show_user(layout: ProjectLayout, user_id: str) -> dict[str, Any]:
    """Return the history and the top-K list of a user; raise InputError if the served generation has neither."""
    with open_serving(layout) as connection:
        history = _rows(
            connection,
            # In a generation of an earlier version, event_type is the one of the table `missing`.
            "SELECT events.* REPLACE (item.title AS title) FROM (SELECT NULL::VARCHAR AS event_type) AS missing"
            " CROSS JOIN LATERAL (SELECT position, item_id, NULL::VARCHAR AS title, event_type, event_time, rating"
            " FROM user_history WHERE user_id = $id) AS events"
            " LEFT JOIN item ON item.item_id = events.item_id ORDER BY position",
            user_id,
        )
        recommended = _rows(
            connection,
            "SELECT * EXCLUDE (user_id, generation) FROM current_recommendation WHERE user_id = $id ORDER BY rank",
            user_id,
        )
        if not history and not recommended:
            raise InputError(
                f"user {user_id!r} is not in the served generation; new users are served after the next `semconv run`"
            )
        return {
            "user_id": user_id,
            "generation": _generation(connection),
            "history": history,
            "recommendations": recommended,
        }


def show_item(layout: ProjectLayout, item_id: str) -> dict[str, Any]:
    """Return the text, codes and similar items of an item; raise InputError if the served generation lacks it."""
    with open_serving(layout) as connection:
        found = _rows(
            connection,
            "SELECT item.item_id, item.title, item.description, item.brand, item.categories, item.is_available,"
            " item_code.codes, item_code.semantic_id, item_code.vector_source, item_code.is_reassigned"
            " FROM item LEFT JOIN item_code USING (item_id) WHERE item.item_id = $id",
            item_id,
        )
        if not found:
            raise InputError(
                f"item {item_id!r} is not in the served generation; new items are served after the next `semconv run`"
            )
        similar = _rows(connection, f"SELECT item_id, title, distance FROM similar_item($id, {SIMILAR_ITEMS})", item_id)  # noqa: S608
        num_users = connection.execute("SELECT count(*) FROM recommendation WHERE item_id = ?", [item_id]).fetchone()
        return {
            **found[0],
            "generation": _generation(connection),
            "num_users_recommended_to": num_users[0] if num_users else 0,
            "similar_items": similar,
        }


def _rows(connection: duckdb.DuckDBPyConnection, statement: str, key: str) -> list[dict[str, Any]]:
    cursor = connection.execute(statement, {"id": key})
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _generation(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT generation FROM generation_info").fetchone()
    return int(row[0]) if row else 0
