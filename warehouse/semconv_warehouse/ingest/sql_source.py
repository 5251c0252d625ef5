"""Read the rows of an SQL query as input of an ingest: write them to a Parquet file, batch by batch.

This works for every database that SQLAlchemy has a driver for. The whole result is never in memory. Connections to
DuckDB, SQLite and PostgreSQL cannot write. No message contains a password.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError

from semconv.errors import InputError, SettingsError
from semconv_warehouse.ingest.readers import Spooled
from semconv_warehouse.ingest.spool import spool_folder
from semconv_warehouse.ingest.sql_connection import connected, readable, reading_engine
from semconv_warehouse.store.secrets import secret_parts, without

BATCH_ROWS = 20_000
# Parameters of a URL that messages may show. All others may hold a password, such as `odbc_connect`.
_HARMLESS = {"application_name", "charset", "client_encoding", "connect_timeout", "driver", "sslmode", "timeout"}
_IN_MEMORY = ":memory:"
_KEPT = (bool, int, float, str, bytes)


@dataclass(frozen=True)
class Query:
    """One SELECT statement and the database to run it on."""

    url: str  # a URL of SQLAlchemy: dialect[+driver]://user@host/database
    statement: str


@contextmanager
def spooled_query(query: Query, folder: Path) -> Iterator[Spooled]:
    """Write the rows of a query to a Parquet file in ``folder``, and delete the file when the block ends.

    Raises:
        SettingsError: the URL is invalid, its driver is not installed, or the statement fails or is not a SELECT.
        InputError: the database cannot be reached, or the result has no rows or two columns with the same name.
        MachineError: the disk is full.
    """
    url = _url(query.url)
    shown = _shown(url)
    with spool_folder(folder) as own, _reported(url, shown):
        path = _spool(reading_engine(url, shown), shown, query.statement, own)
        yield Spooled(path, shown)


def _url(text: str) -> sa.URL:
    try:
        return sa.make_url(text)
    except (ArgumentError, ValueError):
        raise SettingsError(
            "--from-sql: not a database URL; give one such as postgresql+psycopg://user@host/database or sqlite:///file.db"
        ) from None  # the original error may quote the password


def _shown(url: sa.URL) -> str:
    """Return a database URL without its password, and with harmless parameters alone."""
    hidden = [name for name in url.query if name.lower() not in _HARMLESS]
    shown = url.difference_update_query(hidden).render_as_string(hide_password=True)
    return shown.replace(quote(_IN_MEMORY, safe=""), _IN_MEMORY)  # SQLAlchemy writes %3Amemory%3A


def _secrets(url: sa.URL) -> set[str]:
    """Return the password and the values of all parameters that may hold a secret, as a driver may print them."""
    values = [str(url.password or "")]
    for name, value in url.query.items():
        if name.lower() not in _HARMLESS:
            values += [value] if isinstance(value, str) else value
    return secret_parts(values)


@contextmanager
def _reported(url: sa.URL, shown: str) -> Iterator[None]:
    """Turn database errors in the block into an error of one line without secrets."""
    try:
        yield
    except DBAPIError as error:
        line = str(error.orig).strip().partition("\n")[0]
        secrets = _secrets(url)
        line = without(line, secrets)
        unreachable = error.connection_invalidated or error.statement is None
        failure = (
            InputError(f"{shown}: cannot be reached ({line}); check the address, user and password")
            if unreachable
            else SettingsError(f"--from-sql: the statement failed on {shown}; correct it ({line})")
        )
        raise failure from (None if any(secret in str(error) for secret in secrets) else error)


def _spool(engine: sa.Engine, shown: str, statement: str, folder: Path) -> Path:
    options: dict[str, Any] = {"stream_results": True, "max_row_buffer": BATCH_ROWS, "no_parameters": True}
    if engine.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    try:
        with connected(engine, shown) as connection:
            result = connection.execution_options(**options).exec_driver_sql(readable(connection, statement))
            if not result.returns_rows:
                raise SettingsError("--from-sql: the statement is no query and has no result; give a SELECT")
            names = list(result.keys())
            if doubles := sorted({name for name in names if names.count(name) > 1}):
                raise InputError(
                    f"--from-sql: two columns are called {', '.join(doubles)}; give each column its own name with AS"
                )
            parts = [
                _write_part(folder / f"part-{number:06d}.parquet", names, rows)
                for number, rows in enumerate(result.partitions(BATCH_ROWS))
            ]
    finally:
        engine.dispose()
    if not parts:
        raise InputError(f"{shown}: the statement returned no rows; check its conditions")
    return _joined(parts, folder / "rows.parquet")


def _write_part(path: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    columns = zip(*rows, strict=True)
    pq.write_table(pa.table({name: _array(values) for name, values in zip(names, columns, strict=True)}), path)
    return path


def _joined(parts: Sequence[Path], target: Path) -> Path:
    """Join the batches in one file. Each column gets a type that holds all its values; text if no other does."""
    schemas = [pq.read_schema(part) for part in parts]
    schema = pa.schema([(name, _common([one.field(name).type for one in schemas])) for name in schemas[0].names])
    with pq.ParquetWriter(target, schema) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part).cast(schema))
            part.unlink()
    return target


def _common(types: Sequence[pa.DataType]) -> pa.DataType:
    schemas = [pa.schema([("value", kind)]) for kind in dict.fromkeys(types)]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive").field("value").type
    except pa.ArrowException:
        return pa.string()


def _array(values: Sequence[Any]) -> pa.Array:
    """Return a column of Python values as an Arrow array; as text if no other type holds them all."""
    plain = [_plain(value) for value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else str(value) for value in plain], pa.string())


def _plain(value: Any) -> Any:
    """Return a value from a database driver as a type that Arrow and the readers of files accept."""
    if value is None or isinstance(value, _KEPT) or hasattr(value, "year"):
        return value
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, (list, tuple)):
        parts = [_plain(part) for part in value]
        return json.dumps(parts, default=str) if any(isinstance(part, Mapping) for part in value) else parts
    if isinstance(value, Mapping):
        return json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, memoryview):
        return bytes(value)
    return str(value) if isinstance(value, UUID) or not hasattr(value, "item") else value.item()
