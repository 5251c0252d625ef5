"""Reading what is published: SQL on ``serving.duckdb``, one user, one item. Nothing here can write."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from semconv.errors import InputError, SettingsError
from semconv_warehouse.publish.generation_files import generation_path, previous_generation, served_generation
from semconv_warehouse.store.database import database_errors, is_damage, quote_identifier
from semconv_warehouse.store.layout import ProjectLayout

_READING = {"SELECT", "EXPLAIN", "PRAGMA", "MULTI"}  # MULTI: a PIVOT
# A macro reads the tables of the database in use, whatever database it is called from.
_PREVIOUS_MACRO = re.compile(r'"?\bprevious\b"?\s*\.\s*("?main"?\s*\.\s*)?"?similar_item\b', re.IGNORECASE)
SIMILAR_ITEMS = 10


@contextlib.contextmanager
def open_serving(
    layout: ProjectLayout, variables: Mapping[str, str] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The served generation, read-only, with the generation before it attached as ``previous`` when there is one.

    The connection can reach no other file, and its settings cannot be changed. SQL reads a variable with
    ``getvariable('name')``.

    Raises:
        InputError: nothing is published yet, or the file is damaged.
    """
    served = served_generation(layout)
    if served is None:
        what = "damaged" if layout.serving.exists() else "nothing is published yet"
        raise InputError(f"{layout.serving}: {what}; `semconv run` or `semconv publish` makes it")
    # Attached under its own name, the file is the served one even if this process still holds an older serving.duckdb.
    attached = {"previous": previous_generation(layout, served), "serving": served}
    spill = str(layout.data / ".spill")
    with database_errors(layout.serving), duckdb.connect(config={"temp_directory": spill}) as connection:
        for name, generation in attached.items():
            # A damaged generation before the served one is left out: what is served answers without it.
            with contextlib.suppress(*((duckdb.Error,) if name == "previous" else ())):
                if generation is not None:
                    connection.execute(f"ATTACH ? AS {name} (READ_ONLY)", [str(generation_path(layout, generation))])
        connection.execute("USE serving")
        for name, value in (variables or {}).items():
            connection.execute(f"SET VARIABLE {quote_identifier(name)} = ?", [value])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def query(
    layout: ProjectLayout, statement: str, limit: int | None = None, variables: Mapping[str, str] | None = None
) -> pa.Table:
    """The rows of one reading statement.

    Args:
        variables: what ``getvariable`` gives in it; text, which the statement casts to what it needs.
        limit: fetch at most one row more than this, so that ``num_rows > limit`` tells of a cut; None for all.
    Raises:
        SettingsError: the statement is not one, writes, or fails; with the first line of DuckDB's error.
        InputError: nothing is published yet.
    """
    with open_serving(layout, variables) as connection:
        try:
            _require_reading(connection, statement)
            relation = connection.sql(statement)
            if relation is None:
                raise SettingsError("SQL: the statement gives no rows; give a SELECT")
            return _fetch(relation.to_arrow_reader(), limit)
        except (duckdb.IOException, duckdb.OutOfMemoryException):
            raise
        except duckdb.Error as error:
            if is_damage(error):
                raise
            line = str(error).splitlines()[0]
            if "previous" in line and not _has_previous(connection):
                line = (
                    "there is no `previous` yet, one generation alone was published; ask again after the next publish"
                )
            if isinstance(error, duckdb.CatalogException) and line.startswith("Catalog Error: Table"):
                line += '; `semconv sql "SHOW TABLES"` names what there is'
            raise SettingsError(f"SQL: {line}") from error


def show_user(layout: ProjectLayout, user_id: str) -> dict[str, Any]:
    """History and top-K of one user with titles; InputError when the served generation does not know the user."""
    with open_serving(layout) as connection:
        history = _rows(
            connection,
            "SELECT user_history.position, user_history.item_id, item.title, user_history.event_time, user_history.rating"
            " FROM user_history LEFT JOIN item USING (item_id) WHERE user_id = $id ORDER BY position",
            user_id,
        )
        recommended = _rows(
            connection,
            "SELECT rank, item_id, title, score, sources, reason_item_id, reason_title"
            " FROM current_recommendation WHERE user_id = $id ORDER BY rank",
            user_id,
        )
        if not history and not recommended:
            raise InputError(
                f"user {user_id!r} is not in the served generation; `semconv ingest` and a new publish bring users in"
            )
        return {
            "user_id": user_id,
            "generation": _generation(connection),
            "history": history,
            "recommendations": recommended,
        }


def show_item(layout: ProjectLayout, item_id: str) -> dict[str, Any]:
    """Text, codes and similar items of one item; InputError when the served generation does not know it."""
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
                f"item {item_id!r} is not in the served generation; `semconv ingest items` and a new publish bring it in"
            )
        similar = _rows(connection, f"SELECT item_id, title, distance FROM similar_item($id, {SIMILAR_ITEMS})", item_id)  # noqa: S608
        num_users = connection.execute("SELECT count(*) FROM recommendation WHERE item_id = ?", [item_id]).fetchone()
        return {
            **found[0],
            "generation": _generation(connection),
            "num_users_recommended_to": num_users[0] if num_users else 0,
            "similar_items": similar,
        }


def _require_reading(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    statements = connection.extract_statements(statement)
    if len(statements) != 1:
        raise SettingsError(f"SQL: give one statement, not {len(statements)}")
    kind = statements[0].type.name
    if kind not in _READING:
        raise SettingsError(f"SQL: {kind} is refused, what is published is only read; give a SELECT")
    if _PREVIOUS_MACRO.search(statement):
        raise SettingsError(
            "SQL: similar_item answers for the served generation alone; for the one before, compare previous.item_embedding"
        )


def _has_previous(connection: duckdb.DuckDBPyConnection) -> bool:
    return bool(connection.execute("SELECT 1 FROM duckdb_databases() WHERE database_name = 'previous'").fetchall())


def _fetch(reader: pa.RecordBatchReader, limit: int | None) -> pa.Table:
    if limit is None:
        return reader.read_all()
    batches, missing = [], limit + 1
    for batch in reader:
        batches.append(batch.slice(0, missing))
        missing -= batches[-1].num_rows
        if missing <= 0:
            break
    return pa.Table.from_batches(batches, schema=reader.schema)


def _rows(connection: duckdb.DuckDBPyConnection, statement: str, key: str) -> list[dict[str, Any]]:
    cursor = connection.execute(statement, {"id": key})
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _generation(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT generation FROM generation_info").fetchone()
    return int(row[0]) if row else 0
