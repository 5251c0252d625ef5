"""A dialect of SQLAlchemy for DuckDB that can reflect tables and views: ``duckdb+semconv:///data/serving.duckdb``.

The dialect of duckdb_engine asks for the columns of a table in the catalogue of PostgreSQL, of which DuckDB has a part
only. This dialect asks DuckDB's own functions. DuckDB's published files have neither keys nor indexes.
"""

from __future__ import annotations

import re
from typing import Any, Final

import sqlalchemy as sa
from duckdb_engine import Dialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import NoSuchTableError

_TYPES: Final[dict[str, Any]] = {
    "BIGINT": sa.BigInteger,
    "BLOB": sa.LargeBinary,
    "BOOLEAN": sa.Boolean,
    "DATE": sa.Date,
    "DOUBLE": sa.Double,
    "FLOAT": sa.Float,
    "HUGEINT": sa.Numeric,
    "INTEGER": sa.Integer,
    "JSON": sa.JSON,
    "SMALLINT": sa.SmallInteger,
    "TIME": sa.Time,
    "TIMESTAMP": sa.DateTime,
    "TINYINT": sa.SmallInteger,
    "UBIGINT": sa.BigInteger,
    "UINTEGER": sa.BigInteger,
    "UUID": sa.Uuid,
    "VARCHAR": sa.String,
}
_LIST = re.compile(r"(.+)\[\d*\]$")
_RELATIONS: Final = {
    "table": "SELECT table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary",
    "view": "SELECT view_name FROM duckdb_views() WHERE NOT internal AND NOT temporary",
}
_IN_SCHEMA: Final = (
    " AND database_name = current_database() AND schema_name = coalesce(:schema, current_schema()) ORDER BY 1"
)


class ReflectingDialect(Dialect):  # type: ignore[misc]  # duckdb_engine has no types
    """DuckDB with reflection: ``inspect``, ``Table(autoload_with=...)``, ``MetaData.reflect``, ``pandas.read_sql_table``."""

    driver = "semconv"
    supports_statement_cache = True

    # The base class asks the catalogue of PostgreSQL for all tables at once. SQLAlchemy's own methods ask table by table.
    get_multi_columns = DefaultDialect.get_multi_columns
    get_multi_pk_constraint = DefaultDialect.get_multi_pk_constraint
    get_multi_foreign_keys = DefaultDialect.get_multi_foreign_keys
    get_multi_indexes = DefaultDialect.get_multi_indexes
    get_multi_unique_constraints = DefaultDialect.get_multi_unique_constraints
    get_multi_check_constraints = DefaultDialect.get_multi_check_constraints
    get_multi_table_comment = DefaultDialect.get_multi_table_comment
    get_multi_table_options = DefaultDialect.get_multi_table_options

    def get_schema_names(self, connection: Any, **kw: Any) -> list[str]:
        """Return the schemas of the database in use."""
        sql = "SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database() ORDER BY 1"
        return list(connection.execute(sa.text(sql)).scalars())

    def get_table_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """Return the tables of a schema."""
        return self._names(connection, "table", schema)

    def get_view_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """Return the views of a schema."""
        return self._names(connection, "view", schema)

    def get_materialized_view_names(self, connection: Any, schema: str | None = None, **kw: Any) -> list[str]:
        """Return no names, because DuckDB has no materialized views."""
        return []

    def get_temp_table_names(self, connection: Any, **kw: Any) -> list[str]:
        """Return no names: temporary tables are not reflected."""
        return []

    def get_temp_view_names(self, connection: Any, **kw: Any) -> list[str]:
        """Return no names: temporary views are not reflected."""
        return []

    def has_table(self, connection: Any, table_name: str, schema: str | None = None, **kw: Any) -> bool:
        """Return whether a table or a view exists."""
        return any(table_name in self._names(connection, kind, schema) for kind in _RELATIONS)

    def get_columns(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[dict[str, Any]]:
        """Return the columns of a table or a view in order; NoSuchTableError if there is none."""
        sql = (
            "SELECT column_name, data_type, is_nullable, column_default FROM duckdb_columns() WHERE table_name = :name"
            " AND database_name = current_database() AND schema_name = coalesce(:schema, current_schema()) ORDER BY column_index"
        )
        rows = connection.execute(sa.text(sql), {"name": table_name, "schema": schema}).all()
        if not rows:
            raise NoSuchTableError(table_name)
        return [
            {"name": name, "type": _type(kind), "nullable": bool(nullable), "default": default, "autoincrement": False, "comment": None}
            for name, kind, nullable, default in rows
        ]  # fmt: skip

    def get_view_definition(self, connection: Any, view_name: str, schema: str | None = None, **kw: Any) -> str:
        """Return the statement that creates a view; NoSuchTableError if there is none."""
        sql = "SELECT sql FROM duckdb_views() WHERE view_name = :name AND NOT temporary" + _IN_SCHEMA  # noqa: S608
        found: str | None = connection.execute(sa.text(sql), {"name": view_name, "schema": schema}).scalar()
        if found is None:
            raise NoSuchTableError(view_name)
        return found

    def get_pk_constraint(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> dict[str, Any]:
        """Return no primary key."""
        return {"constrained_columns": [], "name": None}

    def get_table_comment(
        self, connection: Any, table_name: str, schema: str | None = None, **kw: Any
    ) -> dict[str, Any]:
        """Return no comment."""
        return {"text": None}

    def get_foreign_keys(self, *args: Any, **kw: Any) -> list[Any]:
        """Return no foreign keys."""
        return []

    def get_indexes(self, *args: Any, **kw: Any) -> list[Any]:
        """Return no indexes."""
        return []

    def get_unique_constraints(self, *args: Any, **kw: Any) -> list[Any]:
        """Return no unique constraints."""
        return []

    def get_check_constraints(self, *args: Any, **kw: Any) -> list[Any]:
        """Return no check constraints."""
        return []

    def get_table_options(self, *args: Any, **kw: Any) -> dict[str, Any]:
        """Return no options."""
        return {}

    def _names(self, connection: Any, kind: str, schema: str | None) -> list[str]:
        return list(connection.execute(sa.text(_RELATIONS[kind] + _IN_SCHEMA), {"schema": schema}).scalars())


def _type(name: str) -> Any:
    """Return SQLAlchemy's type for the name of a type of DuckDB."""
    if found := _LIST.match(name):
        inner = _type(found[1])
        dimensions = inner.dimensions + 1 if isinstance(inner, sa.ARRAY) and inner.dimensions else 1
        return sa.ARRAY(inner.item_type if isinstance(inner, sa.ARRAY) else inner, dimensions=dimensions)
    if name.startswith("DECIMAL"):
        precision, scale = map(int, re.findall(r"\d+", name))
        return sa.Numeric(precision, scale)
    if name.startswith("TIMESTAMP"):
        return sa.DateTime(timezone="TIME ZONE" in name)
    return _TYPES.get(name, sa.types.NullType)()
