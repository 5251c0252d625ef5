"""Other programs that open the published files: the file format that older versions of DuckDB read, and SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import registry
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.pool import NullPool

from semconv_warehouse.erase.databases import erase_from_generation
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.serving.sqlalchemy_dialect import _type
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.published import make_project


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> ProjectLayout:
    layout, store = make_project(tmp_path_factory.mktemp("clients") / "project")
    publish(layout, store, "recommend-1", evaluate_run_ids=["evaluate-1"])
    return layout


@pytest.fixture
def engine(layout: ProjectLayout) -> Iterator[sa.Engine]:
    # An installed semconv registers its dialect with SQLAlchemy; the tests may run from a folder of sources.
    registry.register("duckdb.semconv", "semconv_warehouse.serving.sqlalchemy_dialect", "ReflectingDialect")
    url = f"duckdb+semconv:///{layout.serving}"
    engine = sa.create_engine(url, connect_args={"read_only": True}, poolclass=NullPool)
    yield engine
    engine.dispose()


def storage(path: Path) -> str:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS looked_at (READ_ONLY)")
        found = connection.execute(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'looked_at'"
        )
        return str(found.fetchall()[0][0])


def test_published_files_have_the_format_that_older_clients_read(layout: ProjectLayout) -> None:
    assert storage(layout.serving) == "v1.0.0+"
    assert storage(layout.generation_file(1)) == "v1.0.0+"
    with duckdb.connect(str(layout.root / "new.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1")
    assert storage(layout.root / "new.duckdb") != "v1.0.0+"  # otherwise this test would show nothing


def test_a_file_without_a_forgotten_user_keeps_the_format(layout: ProjectLayout, tmp_path: Path) -> None:
    path = tmp_path / "000001.duckdb"
    path.write_bytes(layout.serving.read_bytes())
    assert erase_from_generation(path, ["u1"], dry_run=False) > 0
    assert storage(path) == "v1.0.0+"


def test_sqlalchemy_reflects_tables_and_views(engine: sa.Engine) -> None:
    inspector = sa.inspect(engine)
    assert {"recommendation", "item", "generation_info"} <= set(inspector.get_table_names())
    assert "current_recommendation" in inspector.get_view_names()
    assert inspector.get_schema_names() == ["main"] or "main" in inspector.get_schema_names()
    types = {column["name"]: column["type"] for column in inspector.get_columns("recommendation")}
    assert isinstance(types["user_id"], sa.String)
    assert isinstance(types["rank"], sa.Integer)
    assert isinstance(types["sources"], sa.ARRAY)
    assert inspector.get_pk_constraint("recommendation")["constrained_columns"] == []
    assert (inspector.get_indexes("item"), inspector.get_foreign_keys("item")) == ([], [])
    assert inspector.has_table("current_recommendation")
    assert not inspector.has_table("nothing")
    with pytest.raises(NoSuchTableError):
        inspector.get_columns("nothing")
    assert "SELECT" in inspector.get_view_definition("current_recommendation")


def test_a_reflected_table_can_be_read(engine: sa.Engine) -> None:
    table = sa.Table("recommendation", sa.MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        statement = sa.select(table.c.item_id).where(table.c.user_id == "u0").order_by(table.c.rank)
        items = connection.execute(statement).scalars().all()
    assert len(items) == 3
    everything = sa.MetaData()
    everything.reflect(engine, views=True)
    assert {"recommendation", "current_recommendation", "code_usage"} <= everything.tables.keys()
    with pytest.raises(NoSuchTableError):
        sa.Table("nothing", sa.MetaData(), autoload_with=engine)


def test_pandas_reads_a_table_and_a_view(engine: sa.Engine) -> None:
    frame = pd.read_sql_table("current_recommendation", engine)
    assert {"user_id", "rank", "title"} <= set(frame.columns)
    assert len(frame) == len(pd.read_sql_table("recommendation", engine)) > 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FLOAT[32]", "FLOAT[]"),
        ("BIGINT[][]", "BIGINT[][]"),
        ("DECIMAL(18,3)", "NUMERIC(18, 3)"),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP WITH TIME ZONE"),
        ("TIMESTAMP_NS", "TIMESTAMP WITHOUT TIME ZONE"),
        ("STRUCT(a INTEGER)", "NULL"),
    ],
)
def test_names_of_types(name: str, expected: str) -> None:
    from sqlalchemy.dialects.postgresql import dialect

    assert (
        str(_type(name).compile(dialect())) == expected
        if expected != "NULL"
        else isinstance(_type(name), sa.types.NullType)
    )
