"""Rows of a query on a PostgreSQL server as an input."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from semconv_warehouse.ingest import sql_source
from tests.worlds.ingest_command import ingest, make_project, read


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "p")


@pytest.fixture
def postgres_url() -> Iterator[str]:
    import yaml

    from benchmarks.serving import online_stores

    with online_stores.postgres() as block:
        store = yaml.safe_load(block)["online_store"]
        yield f"postgresql+psycopg://{store['user']}:{store['password']}@{store['host']}:{store['port']}/{store['database']}"


def test_postgresql_streams_its_own_types_and_is_opened_read_only(
    project: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlalchemy as sa

    monkeypatch.setattr(sql_source, "BATCH_ROWS", 100)
    engine = sa.create_engine(postgres_url)
    with engine.connect().execution_options(no_parameters=True) as connection, connection.begin():
        connection.exec_driver_sql(
            "CREATE TABLE event AS SELECT uuid_in(md5((n % 50)::text)::cstring) AS user_id, (n % 20)::numeric(9, 0) AS item_id,"
            " timestamptz '2024-01-01 00:00+02' + n * interval '1 minute' AS event_time, 4.5::numeric AS rating"
            " FROM generate_series(1, 1000) AS n"
        )
        connection.exec_driver_sql(
            "CREATE TABLE product AS SELECT n AS item_id, 'lamp :' || n || ' 50%' AS title, ARRAY['home', 'light'] AS categories,"
            " jsonb_build_object('watt', n) AS spec FROM generate_series(0, 19) AS n"
        )
    engine.dispose()
    items = "SELECT * FROM product WHERE title LIKE '%lamp :%'"
    assert json.loads(ingest(project, "items", "--from-sql", postgres_url, items, "--json").stdout)["added"] == 20
    report = json.loads(
        ingest(project, "interactions", "--from-sql", postgres_url, "SELECT * FROM event", "--json").stdout
    )
    password = sa.make_url(postgres_url).password
    assert (report["added"], "***" in report["files"][0], str(password) in str(report)) == (1000, True, False)
    assert read(project, "SELECT count(DISTINCT user_id), min(event_time), min(rating) FROM interaction") == [
        (50, datetime(2023, 12, 31, 22, 1), 4.5)  # noqa: DTZ001
    ]
    assert read(project, "SELECT title, categories, attributes FROM item WHERE item_id = '7'") == [
        ("lamp :7 50%", ["home", "light"], {"spec": '{"watt": 7}'})
    ]
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SEQUENCE counter")
    engine.dispose()
    for writing, part in (("DELETE FROM event RETURNING *", "DELETE"), ("SELECT nextval('counter')", "read-only")):
        assert part in ingest(project, "items", "--from-sql", postgres_url, writing, code=2).stderr
    assert (
        "cannot be reached"
        in ingest(project, "items", "--from-sql", postgres_url.replace(str(password), "wrong"), items, code=4).stderr
    )
