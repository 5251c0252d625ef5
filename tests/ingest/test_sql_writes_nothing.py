"""`--from-sql` reads what its user may read, and writes nothing: on DuckDB and SQLite, whatever the statement."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from semconv.errors import InputError, SettingsError
from semconv_warehouse.ingest.sql_source import Query, spooled_query
from tests.worlds.statements import FURTHER, HIDDEN, STATEMENTS


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder with two databases and a text file; the test must leave it as it is."""
    folder = tmp_path / "shop [1] 100% é 'x'"
    folder.mkdir()
    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE item AS SELECT 'i' || range AS item_id, 'lamp' AS title FROM range(3)")
    with sqlite3.connect(folder / "shop.db") as database:
        database.execute("CREATE TABLE item AS SELECT 'i0' AS item_id, '[1, 2]' AS sizes")
    database.close()
    (folder / "rows.csv").write_text("item_id,title\ni9,chair\n")
    before = _files(folder)
    yield folder
    assert _files(folder) == before


def _files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def _rows(url: str, statement: str, tmp_path: Path) -> list[dict[str, object]]:
    spool = tmp_path / "data"
    spool.mkdir(exist_ok=True)
    with spooled_query(Query(url, statement), spool) as rows:
        return list(pq.read_table(rows.path).to_pylist())


@pytest.mark.parametrize("database", ["shop.duckdb", pytest.param(None, marks=pytest.mark.slow)])
def test_no_statement_of_duckdb_writes(outside: Path, tmp_path: Path, database: str | None) -> None:
    url = f"duckdb:///{outside / database}" if database else "duckdb:///:memory:"
    for statement in (*STATEMENTS.values(), *FURTHER, *HIDDEN, "COPY (SELECT 1) TO '{folder}/shop.duckdb'"):
        for prefix in ("", "EXPLAIN ANALYZE "):
            text = prefix + statement.format(folder=str(outside).replace("'", "''"))
            with pytest.raises(SettingsError, match=r"only reads; give a SELECT|syntax error"):
                _rows(url, text, tmp_path)


def test_statements_of_duckdb_read_files(outside: Path, tmp_path: Path) -> None:
    file = str(outside / "rows.csv").replace("'", "''")
    pattern = file.replace("[1]", "[[]1]")  # DuckDB expands a path as a pattern
    statement = f"SELECT * FROM read_csv('{pattern}')"
    assert _rows("duckdb:///:memory:", statement, tmp_path) == [{"item_id": "i9", "title": "chair"}]
    url = f"duckdb:///{outside / 'shop.duckdb'}"
    union = f"{statement} UNION ALL SELECT * FROM item ORDER BY item_id LIMIT 1"
    assert _rows(url, union, tmp_path) == [{"item_id": "i0", "title": "lamp"}]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM enable_logging('QueryLog', storage = 'file', storage_path = '{folder}/log')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{folder}/out.csv''')",
    ],
)
def test_functions_of_duckdb_write_nothing(outside: Path, tmp_path: Path, statement: str) -> None:
    with pytest.raises(SettingsError):
        _rows("duckdb:///:memory:", statement.format(folder=str(outside).replace("'", "''''")), tmp_path)


_EXECUTED = "json_execute_serialized_sql(json_serialize_sql('WITH x AS (COPY (SELECT 1) TO ''{file}'') SELECT ''i9'' AS item_id'))"


def test_no_sql_in_a_text_is_run(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    executed = _EXECUTED.format(file=file)
    arguments = executed.partition("(")[2]
    quoted = executed.replace("'", "''")
    for statement in (
        f"SELECT * FROM {executed}",
        f'SELECT * FROM system.main."JSON_execute_serialized_sql" /* x */ ({arguments}',
        f"SELECT * FROM query('SELECT * FROM {quoted}')",
        f"SELECT (SELECT count(*) FROM {executed}) AS item_id",
        f"WITH x AS (FROM {executed}) SELECT * FROM x",
        f"PIVOT (SELECT * FROM {executed}) ON item_id",
        f"EXPLAIN ANALYZE SELECT * FROM {executed}",
        f"SUMMARIZE SELECT * FROM {executed}",
    ):
        with pytest.raises(SettingsError, match=r"^--from-sql: "):
            _rows("duckdb:///:memory:", statement, tmp_path)
        assert not file.exists(), statement


@pytest.mark.parametrize("made", ["VIEW hidden AS SELECT * FROM ", "MACRO hidden() AS TABLE SELECT * FROM "])
def test_no_view_or_macro_runs_sql_in_a_text(tmp_path: Path, made: str) -> None:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE item AS SELECT 'i0' AS item_id")
        connection.execute(f"CREATE {made}{_EXECUTED.format(file=tmp_path / 'out.csv')}")
    for statement in ("SELECT * FROM hidden", "SELECT * FROM hidden()", "PIVOT hidden ON item_id"):
        with pytest.raises(SettingsError, match="the view or macro hidden"):
            _rows(f"duckdb:///{tmp_path / 'shop.duckdb'}", statement, tmp_path)
    assert not (tmp_path / "out.csv").exists()


def test_a_column_with_the_name_of_a_refused_function_is_read(tmp_path: Path) -> None:
    assert _rows("duckdb:///:memory:", "SELECT query FROM (SELECT 'x' AS query)", tmp_path) == [{"query": "x"}]


@pytest.mark.parametrize(
    "statement",
    [
        "VACUUM INTO '{folder}/copy.db'",
        "VACUUM",
        "ATTACH '{folder}/new.db' AS new",
        "ATTACH '{folder}/shop.db' AS again",
        "INSERT INTO item VALUES ('i1', NULL) RETURNING item_id",
        "UPDATE item SET sizes = NULL RETURNING item_id",
        "DELETE FROM item RETURNING item_id",
        "REPLACE INTO item VALUES ('i1', NULL) RETURNING item_id",
        "CREATE TABLE x AS SELECT 1",
        "DROP TABLE item",
        "PRAGMA journal_mode = WAL",
        "PRAGMA user_version = 5",
        "PRAGMA wal_checkpoint",
        "PRAGMA writable_schema = ON",
        "PRAGMA temp_store_directory = '{folder}'",
        "SELECT load_extension('{folder}/x.so')",
        "EXPLAIN INSERT INTO item VALUES ('i1', NULL)",
        "SELECT 1; DELETE FROM item",
    ],
)
def test_no_statement_of_sqlite_writes(outside: Path, tmp_path: Path, statement: str) -> None:
    text = statement.format(folder=str(outside).replace("'", "''"))
    if text.startswith("EXPLAIN"):  # SQLite only explains
        assert _rows(f"sqlite:///{outside / 'shop.db'}", text, tmp_path)
        return
    with pytest.raises(SettingsError, match=r"^--from-sql: the statement"):
        _rows(f"sqlite:///{outside / 'shop.db'}", text, tmp_path)


def test_statements_of_sqlite_read(outside: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{outside / 'shop.db'}"
    sizes = "SELECT item_id, value FROM item, json_each(sizes)"
    assert _rows(url, sizes, tmp_path) == [{"item_id": "i0", "value": 1}, {"item_id": "i0", "value": 2}]
    columns = "SELECT name FROM pragma_table_info('item')"
    assert _rows(url, columns, tmp_path) == [{"name": "item_id"}, {"name": "sizes"}]


def test_a_database_with_a_log_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "logged.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE item AS SELECT 'i0' AS item_id")
    connection.close()
    before = _files(tmp_path)
    assert _rows(f"sqlite:///{path}", "SELECT * FROM item", tmp_path) == [{"item_id": "i0"}]
    with pytest.raises(SettingsError):
        _rows(f"sqlite:///{path}", "DELETE FROM item RETURNING item_id", tmp_path)
    (tmp_path / "data" / "lock").unlink()
    (tmp_path / "data").rmdir()
    assert _files(tmp_path) == before


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    for kind in ("duckdb", "sqlite"):
        with pytest.raises(InputError, match=rf"(?i)no such {kind} file"):
            _rows(f"{kind}:///{tmp_path / 'none.db'}", "SELECT 1", tmp_path)
    assert not (tmp_path / "none.db").exists()
