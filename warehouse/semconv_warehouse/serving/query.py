"""Run SQL on the served generation. The connection cannot write, and it cannot open other files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

import duckdb
import pyarrow as pa

from semconv.errors import InputError, SettingsError
from semconv_warehouse.publish.generation_files import (
    generation_path,
    previous_generation,
    require_alone,
    served_generation,
)
from semconv_warehouse.store.database import database_errors, is_damage, quote_identifier
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.statements import close, require_reading

_NEWER_VIEW = "target_event"  # queries of the cookbook read it, and generations of earlier versions do not have it
# A macro reads tables of the database in use, so `previous.similar_item` would read the served generation instead.
_PREVIOUS_MACRO = re.compile(r'"?\bprevious\b"?\s*\.\s*("?main"?\s*\.\s*)?"?similar_item\b', re.IGNORECASE)


@contextlib.contextmanager
def open_serving(
    layout: ProjectLayout, variables: Mapping[str, str] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the served generation read-only, and attach the generation before it as ``previous`` if there is one.

    The connection cannot open other files, and its settings are locked. SQL reads a variable with
    ``getvariable('name')``.

    Raises:
        InputError: nothing is published yet, a file is damaged, or a stray file lies beside it.
    """
    served = served_generation(layout)
    if served is None:
        problem = "damaged" if layout.serving.exists() else "nothing is published yet"
        raise InputError(f"{layout.serving}: {problem}; `semconv run` or `semconv publish` creates it")
    # Not by the path serving.duckdb: if this process still holds an older one, DuckDB would attach that file again.
    require_alone(layout.serving)
    attached = {"previous": previous_generation(layout, served), "serving": served}
    with database_errors(layout.serving), duckdb.connect() as connection:
        for name, generation in attached.items():
            if generation is None:
                continue
            path = generation_path(layout, generation)
            require_alone(path)
            # A previous generation that cannot be read must not prevent queries on the served one.
            with contextlib.suppress(*((duckdb.Error,) if name == "previous" else ())):
                connection.execute(f"ATTACH ? AS {name} (READ_ONLY)", [str(path)])
        connection.execute("USE serving")
        for name, value in (variables or {}).items():
            connection.execute(f"SET VARIABLE {quote_identifier(name)} = ?", [value])
        close(connection)
        yield connection


def query(
    layout: ProjectLayout, statement: str, limit: int | None = None, variables: Mapping[str, str] | None = None
) -> pa.Table:
    """Run one statement that reads the served generation, and return its rows.

    Args:
        limit: fetch at most one row more than this, so that ``num_rows > limit`` shows that rows are missing; None: all.
        variables: text values that the statement reads with ``getvariable`` and casts as it needs.

    Returns:
        the rows; a table without columns if the text holds only comments.

    Raises:
        SettingsError: the text is not exactly one statement, or the statement writes or fails. The message has the
            first line of DuckDB's error.
        InputError: nothing is published yet.
    """
    with open_serving(layout, variables) as connection:
        try:
            if statement.strip() and not connection.extract_statements(statement):
                return pa.table({})
            relation = connection.sql(_reading(connection, statement))
            if relation is None:
                raise SettingsError("SQL: the statement returns no rows; give a SELECT statement")
            return _fetch(relation.to_arrow_reader(), limit)
        except (duckdb.IOException, duckdb.OutOfMemoryException):
            raise
        except duckdb.Error as error:
            if is_damage(error):
                raise
            line = str(error).splitlines()[0]
            if "previous" in line and not _has_previous(connection):
                line = "only one generation was published, so there is no `previous`; try again after the next publish"
            if isinstance(error, duckdb.CatalogException) and _NEWER_VIEW in line:
                line = (
                    f"an earlier version of semconv published this generation, so it has no view {_NEWER_VIEW};"
                    " `semconv publish` writes a generation with the view"
                )
            elif isinstance(error, duckdb.CatalogException) and line.startswith("Catalog Error: Table"):
                line += '; `semconv sql "SHOW TABLES"` lists the tables'
            raise SettingsError(f"SQL: {line}") from error


def _reading(connection: duckdb.DuckDBPyConnection, statement: str) -> str:
    try:
        reading = require_reading(connection, statement)
    except SettingsError as error:
        raise SettingsError(f"SQL: {error}") from error
    if _PREVIOUS_MACRO.search(statement):
        raise SettingsError(
            "SQL: similar_item reads only the served generation; for the other one, use previous.item_embedding"
        )
    return reading


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
