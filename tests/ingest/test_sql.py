"""Rows of a query as an input, from SQLite; tests/services has PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semconv.errors import InputError, SettingsError
from semconv_warehouse.ingest import sql_source
from semconv_warehouse.ingest.sql_source import Query, spooled_query
from tests.worlds.ingest_command import ingest, make_project, read

ROWS = [
    ("u1", "i1", "2024-01-01 10:00:00", 4.0),
    ("u1", "i2", "2024-01-02 10:00:00", None),
    (None, "i1", "2024-01-03", 1.0),
]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE event (who TEXT, item_id TEXT, at TEXT, rating REAL)")
        connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", ROWS)
        connection.execute("CREATE TABLE product (item_id INTEGER, title TEXT, weight REAL)")
        connection.executemany("INSERT INTO product VALUES (?, ?, ?)", [(1, "red lamp", 2.5), (2, "blue chair", None)])
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "p")


def test_a_query_is_validated_like_a_file(project: Path, database: Path, tmp_path: Path) -> None:
    rejected = tmp_path / "rejected.jsonl"
    url = f"sqlite:///{database}"
    args = (
        "interactions",
        "--from-sql",
        url,
        "SELECT who, item_id, at AS event_time, rating FROM event",
        "--map",
        "user_id=who",
    )
    report = json.loads(ingest(project, *args, "--rejected", str(rejected), "--json").stdout)
    assert (report["read"], report["added"], report["rejected"]) == (3, 2, {"no user_id": 1})
    assert report["files"] == [url]
    bad = json.loads(rejected.read_text())
    assert (bad["file"], bad["reason"], json.loads(bad["record"])["item_id"]) == (url, "no user_id", "i1")
    assert read(project, "SELECT user_id, item_id, event_time, rating FROM interaction ORDER BY position") == [
        ("u1", "i1", datetime(2024, 1, 1, 10), 4.0),  # noqa: DTZ001
        ("u1", "i2", datetime(2024, 1, 2, 10), None),  # noqa: DTZ001
    ]
    again = json.loads(ingest(project, *args, "--json").stdout)
    assert (again["added"], again["duplicate"]) == (0, 2)


def test_other_columns_of_items_become_attributes(project: Path, database: Path) -> None:
    ingest(project, "items", "--from-sql", f"sqlite:///{database}", "SELECT * FROM product", "--snapshot")
    found = read(project, "SELECT item_id, title, CAST(attributes AS VARCHAR) FROM item ORDER BY item_index")
    assert found == [("1", "red lamp", '{"weight":2.5}'), ("2", "blue chair", None)]


def test_rows_come_in_batches_and_all_files_are_deleted(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_source, "BATCH_ROWS", 2)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE mixed (a, b, c)")  # a column of SQLite holds values of any type
        connection.executemany(
            "INSERT INTO mixed VALUES (?, ?, ?)", [(1, None, 1), (2, None, 2), ("x", 1.5, 3.5), (None, 2, None)]
        )
    (tmp_path / "data").mkdir()
    with spooled_query(Query(f"sqlite:///{database}", "SELECT * FROM mixed"), tmp_path / "data") as rows:
        assert rows.path.parent.stat().st_mode & 0o777 == 0o700
        table = pq.read_table(rows.path)
        assert pq.ParquetFile(rows.path).num_row_groups == 2
    assert table.to_pydict() == {"a": ["1", "2", "x", None], "b": [None, None, 1.5, 2.0], "c": [1.0, 2.0, 3.5, None]}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["lock"]


def test_values_of_drivers_become_types_of_files() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    number = UUID(int=7)
    kinds = sql_source._array
    assert kinds([Decimal("12"), None]).to_pylist() == [12, None]
    assert kinds([Decimal("1.50"), Decimal("2.00")]).to_pylist() == [1.5, 2.0]
    assert kinds([number]).to_pylist() == [str(number)]
    assert kinds([["a", "b"], None]).to_pylist() == [["a", "b"], None]
    assert kinds([{"a": 1}, None]).to_pylist() == ['{"a": 1}', None]
    assert kinds([moment]).type == pa.timestamp("us", tz="UTC")
    assert kinds([1, "x", 2**70]).to_pylist() == ["1", "x", str(2**70)]
    assert kinds([2**70]).to_pylist() == [str(2**70)]
    assert kinds([memoryview(b"ab")]).to_pylist() == [b"ab"]


@pytest.mark.parametrize(
    ("url", "statement", "code", "part"),
    [
        ("sqlite:///{database}", "SELECT missing FROM event", 2, "no such column"),
        ("sqlite:///{database}", "DELETE FROM event", 2, "readonly"),
        ("sqlite:///{database}", "PRAGMA query_only = OFF", 2, "give a SELECT"),
        ("sqlite:///{database}", "SELECT who, who FROM event", 4, "two columns are called who"),
        ("sqlite:///{database}", "SELECT * FROM event WHERE 1 = 0", 4, "returned no rows"),
        ("sqlite:///{database}", "SELECT who FROM event", 4, "no column user_id"),
        ("sqlite:///{database}.not", "SELECT 1", 4, "no such SQLite file"),
        ("duckdb:///:memory:", "SELECT missing", 2, "failed on duckdb:///:memory:; correct it"),
        ("no url with hush-hush in it", "SELECT 1", 2, "not a database URL"),
        ("nosuch://u:hush-hush@h/d", "SELECT 1", 2, "does not know the dialect nosuch"),
        ("mysql+pymysql://u:hush-hush@h/d", "SELECT 1", 2, "`pip install pymysql`"),
        ("postgresql+psycopg2://u:hush-hush@h/d", "SELECT 1", 2, "semconv[postgres]"),
        ("postgresql+psycopg://u:hush-hush@127.0.0.1:1/d?sslpassword=hush-hush", "SELECT 1", 4, "cannot be reached"),
    ],
)
def test_refusals_are_one_line_without_a_password(
    project: Path, database: Path, url: str, statement: str, code: int, part: str
) -> None:
    if "psycopg:" in url:
        pytest.importorskip("psycopg", reason="the extra semconv[postgres] is not installed")
    args = ("interactions", "--from-sql", url.format(database=database), statement)
    for flags in ((), ("-v",)):
        result = ingest(project, *args, *flags, code=code)
        assert part in result.stderr
        assert "hush-hush" not in result.output
    assert ingest(project, *args, code=code).stderr.count("\n") == 1
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM event").fetchone() == (3,)


def test_files_and_a_query_exclude_each_other(project: Path, database: Path) -> None:
    assert "FILES" in ingest(project, "items", code=2).stderr
    both = ("items", "f.csv", "--from-sql", f"sqlite:///{database}", "SELECT 1")
    assert "--from-sql" in ingest(project, *both, code=2).stderr


@pytest.mark.parametrize(
    "parameter",
    [
        "sslpassword=hush-hush",
        "odbc_connect=DRIVER%3D%7Bx%7D%3BSERVER%3Ddb%3BUID%3Dme%3BPWD%3Dhush-hush",
        "options=-c+my.pin%3Dhush-hush",
        "auth=hush-hush",
        "PIN=hush-hush",
        "user=hush-hush",
        "credentials_base64=hush-hush",
        "a=1&a=hush-hush",
    ],
)
def test_secrets_of_a_url_are_not_shown(parameter: str) -> None:
    from sqlalchemy.exc import OperationalError

    url = sql_source._url(f"postgresql+psycopg://me:hush-hush@db:5432/shop?{parameter}&application_name=x")
    shown = sql_source._shown(url)
    assert shown == "postgresql+psycopg://me:***@db:5432/shop?application_name=x"
    for message in ("login 'hush-hush' failed", f"bad {parameter}", "PWD=hush-hush;", "hush%2Dhush"):
        with pytest.raises(InputError) as caught, sql_source._reported(url, shown):
            raise OperationalError(None, None, Exception(message))  # type: ignore[arg-type]
        assert "hush-hush" not in str(caught.value)
        assert caught.value.__cause__ is None or "hush-hush" not in str(caught.value.__cause__)


def test_a_parameter_that_the_driver_does_not_know_is_not_shown(project: Path, database: Path) -> None:
    url = f"sqlite:///{database}?pin=hush-hush&timeout=soon"
    for flags in ((), ("-v",)):
        result = ingest(project, "items", "--from-sql", url, "SELECT * FROM product", *flags, code=2)
        assert "the driver does not accept a parameter" in result.stderr
        assert "hush-hush" not in result.output


def test_a_password_in_the_message_of_a_driver_is_hidden() -> None:
    from sqlalchemy.exc import OperationalError

    url = sql_source._url("postgresql+psycopg://me:hush@db/shop")
    failure = OperationalError(None, None, Exception('cannot log in with "hush" as me'))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r'log in with "\*\*\*" as me') as caught, sql_source._reported(url, "db"):
        raise failure
    assert caught.value.__cause__ is None
    with pytest.raises(SettingsError), sql_source._reported(url, "db"):
        raise OperationalError("SELECT 1", None, Exception("no such table"))  # type: ignore[arg-type]
