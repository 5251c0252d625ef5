"""SQL on the served generation, on a connection that cannot write and reaches no other file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

import duckdb
import pyarrow as pa

from semconv.errors import InputError, SettingsError
from semconv_warehouse.publish.generation_files import generation_path, previous_generation, served_generation
from semconv_warehouse.store.database import database_errors, is_damage, quote_identifier
from semconv_warehouse.store.layout import ProjectLayout

_READING = {"SELECT", "EXPLAIN", "PRAGMA", "MULTI"}  # MULTI: a PIVOT
# DuckDB looks a macro's tables up in the database in use, so `previous.similar_item` would read the served generation.
_PREVIOUS_MACRO = re.compile(r'"?\bprevious\b"?\s*\.\s*("?main"?\s*\.\s*)?"?similar_item\b', re.IGNORECASE)


@contextlib.contextmanager
def open_serving(
    layout: ProjectLayout, variables: Mapping[str, str] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the served generation read-only, with the generation before it attached as ``previous`` if there is one.

    The connection can reach no other file, and its settings are locked. SQL reads a variable with
    ``getvariable('name')``.

    Raises:
        InputError: nothing is published yet, or the file is damaged.
    """
    served = served_generation(layout)
    if served is None:
        problem = "damaged" if layout.serving.exists() else "nothing is published yet"
        raise InputError(f"{layout.serving}: {problem}; `semconv run` or `semconv publish` makes it")
    # By its own name: if this process still holds an older serving.duckdb, DuckDB would attach the older file again.
    attached = {"previous": previous_generation(layout, served), "serving": served}
    spill = str(layout.data / ".spill")
    with database_errors(layout.serving), duckdb.connect(config={"temp_directory": spill}) as connection:
        for name, generation in attached.items():
            # Without a readable previous generation, the served one still answers.
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
    """Return the rows of one statement that reads.

    Args:
        limit: fetch at most one row more than this, so that ``num_rows > limit`` tells that rows are missing; None for all.
        variables: text values that the statement reads with ``getvariable`` and casts as it needs.

    Raises:
        SettingsError: the text is not one statement, or it writes, or it fails; with the first line of DuckDB's error.
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
                line = "there is no `previous` yet, only one generation was published; try again after the next publish"
            if isinstance(error, duckdb.CatalogException) and line.startswith("Catalog Error: Table"):
                line += '; `semconv sql "SHOW TABLES"` lists the tables'
            raise SettingsError(f"SQL: {line}") from error


def _require_reading(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    statements = connection.extract_statements(statement)
    if len(statements) != 1:
        raise SettingsError(f"SQL: give one statement, not {len(statements)}")
    kind = statements[0].type.name
    if kind not in _READING:
        raise SettingsError(f"SQL: {kind} is refused, because published data is read-only; give a SELECT")
    if _PREVIOUS_MACRO.search(statement):
        raise SettingsError(
            "SQL: similar_item reads the served generation alone; for the generation before, compare previous.item_embedding"
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
