"""`semconv sql` and `recommend.where` only read, whatever the statement; a stray file beside a generation is refused."""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from semconv.errors import InputError, MachineError, SettingsError
from semconv_cli.main import cli
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.serving.query import open_serving, query
from semconv_warehouse.store import statements
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.published import make_project
from tests.worlds.statements import FURTHER, HIDDEN, NO_TEXT, PARSED_AS, READING, STATEMENTS, kind_of

Snapshot = dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ProjectLayout:
    layout, store = make_project(tmp_path_factory.mktemp("reading") / "project")
    publish(layout, store, "recommend-1", evaluate_run_ids=["evaluate-1"])
    return layout


@pytest.fixture
def layout(served: ProjectLayout, tmp_path: Path) -> ProjectLayout:
    """A copy of the project, for tests that change it."""
    root = shutil.copytree(served.root, tmp_path / "project")
    copy = ProjectLayout(root)
    copy.serving.unlink()
    copy.serving.hardlink_to(copy.generation_file(1))
    return copy


@pytest.fixture
def unchanged(served: ProjectLayout) -> Iterator[None]:
    before = _files(served)
    yield
    assert _files(served) == before


def _files(layout: ProjectLayout) -> Snapshot:
    """Return the digest of each file of a project, and of each file that a statement may create."""
    return {
        str(path): _digest(path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        for path in sorted(layout.root.parent.rglob("*"))
        if path.is_file() and (found := path.stat())
    }


@functools.cache
def _digest(path: Path, *_: int) -> str:
    """Return the digest of a file. The numbers change with every write to it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_kind_of_statement_is_tried() -> None:
    assert set(STATEMENTS) | {*READING, *NO_TEXT} == set(duckdb.StatementType.__members__)
    for kind, statement in STATEMENTS.items():
        assert kind_of(statement) == PARSED_AS.get(kind, kind)
    assert {kind_of(statement) for statement in HIDDEN} == {"SELECT", "EXPLAIN", "MULTI"}


@pytest.mark.parametrize("prefix", ["", "EXPLAIN ", "EXPLAIN ANALYZE ", "EXPLAIN (ANALYZE, FORMAT json) "])
@pytest.mark.usefixtures("unchanged")
def test_every_statement_that_does_more_than_read_is_refused(served: ProjectLayout, prefix: str) -> None:
    outputs = served.root.parent
    for statement in (*STATEMENTS.values(), *FURTHER, *HIDDEN):
        with pytest.raises(SettingsError) as failure:
            query(served, prefix + statement.format(folder=outputs))
        message = str(failure.value)
        assert "is refused, because this connection only reads; give a SELECT" in message or "syntax error" in message
        assert "\n" not in message


@pytest.mark.parametrize("prefix", ["", "EXPLAIN ", "EXPLAIN ANALYZE ", "/* é */ explain(ANALYZE, format json)"])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        "(SELECT 1)",
        "FROM item",
        "DESCRIBE item",
        "DESCRIBE SELECT 1",
        "SHOW TABLES",
        "SHOW item",
        "SUMMARIZE item",
        "SUMMARIZE SELECT 1",
        "WITH RECURSIVE n AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM n WHERE a < 3) SELECT 'copy' FROM n",
        "SELECT 1 UNION SELECT 2 -- a comment",
        "PIVOT item ON item_id IN ('i0')",
        "PIVOT item ON item_id",
        "VALUES (1)",
        f"SELECT {' || '.join(['chr(65)'] * 450)}",
        """SELECT '"type":"INSERT_QUERY_NODE"' AS "a" """,
    ],
)
def test_every_statement_that_reads_is_run(served: ProjectLayout, prefix: str, statement: str) -> None:
    assert query(served, prefix + statement).num_rows > 0


@pytest.mark.parametrize(
    "statement",
    [
        "COPY item TO '{served}'",
        "COPY item TO '{served}.wal'",
        "COPY item TO '{served}.wal.recovery'",
        "COPY item TO '{served}.wal.checkpoint'",
        "COPY item TO '{previous}.wal'",
        "COPY item TO '{data}/.spill/out.csv'",
        "EXPLAIN ANALYZE COPY item TO '{served}.wal'",
        "WITH x AS (COPY item TO '{served}.wal') SELECT 1",
        "SELECT * FROM read_text('{served}')",
        "SELECT * FROM read_blob('{served}.wal')",
        "SELECT * FROM read_csv('{data}/.spill/*')",
        "SELECT * FROM glob('{data}/*')",
        "FROM '{served}'",
        "SELECT * FROM enable_logging('QueryLog', storage = 'file', storage_path = '{data}/log')",
        "CALL enable_logging('QueryLog', storage = 'file', storage_path = '{data}/log')",
        "ATTACH '{served}' AS again",
        "ATTACH '{data}/new.duckdb' AS new",
        "SET temp_directory = '{data}'",
        "SET allowed_paths = ['{data}']",
        "SET disabled_filesystems = ''",
        "RESET disabled_filesystems",
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_the_connection_reaches_no_file(served: ProjectLayout, statement: str) -> None:
    """Without the decision about statements, the connection itself refuses the attached files and those beside them."""
    paths = {"served": served.generation_file(1), "previous": served.serving, "data": served.data}
    with open_serving(served) as connection, pytest.raises(duckdb.Error, match=r"disabled|locked"):
        connection.execute(statement.format(**paths))


@pytest.mark.usefixtures("unchanged")
def test_a_query_beyond_the_memory_writes_no_file(served: ProjectLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    def close_with_little_memory(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("SET memory_limit = '60MB'")
        statements.close(connection)

    monkeypatch.setattr("semconv_warehouse.serving.query.close", close_with_little_memory)
    with pytest.raises(MachineError, match="out of memory"):
        query(served, "SELECT max(a) FROM (SELECT range AS a, random() AS b FROM range(9000000) ORDER BY b)")


@pytest.mark.parametrize(
    "where",
    [
        "(WITH x AS (COPY (SELECT 1) TO '{folder}/out.csv') SELECT true)",
        "true) AS allowed FROM item; COPY item TO '{folder}/out.csv'; SELECT 1, (true",
        "(SELECT count(*) > 0 FROM read_text('{warehouse}'))",
        "(SELECT count(*) > 0 FROM read_blob('{warehouse}.wal'))",
        "(SELECT count(*) > 0 FROM glob('/etc/*'))",
        "(SELECT count(*) > 0 FROM '/etc/passwd')",
        "(SELECT count(*) > 0 FROM enable_logging('QueryLog', storage = 'file', storage_path = '{folder}/log'))",
        "(SELECT count(*) > 0 FROM query('COPY item TO ''{folder}/out.csv'''))",
        "(INSERT INTO item SELECT * FROM item)",
    ],
)
@pytest.mark.usefixtures("unchanged")
def test_a_filter_of_items_only_reads_the_warehouse(served: ProjectLayout, where: str) -> None:
    condition = where.format(folder=served.root.parent, warehouse=served.warehouse)
    with pytest.raises(SettingsError, match="is not a condition on the table item") as failure:
        DuckDBStore(served).allowed_items(condition)
    assert "\n" not in str(failure.value)


def test_a_filter_may_read_other_tables(served: ProjectLayout) -> None:
    allowed = DuckDBStore(served).allowed_items("item_id IN (SELECT item_id FROM interaction) -- these alone")
    assert 0 < allowed.sum() < len(allowed)


def _forge_log(path: Path, folder: Path) -> Path:
    """Write a write-ahead log that changes all titles of a generation, as a DuckDB that was killed leaves it."""
    copy = shutil.copy(path, folder / "copy.duckdb")
    Path(copy).chmod(0o644)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{copy}' AS forged")
        connection.execute("SET checkpoint_threshold = '1GB'")
        connection.execute("UPDATE forged.item SET title = 'forged'")
        return Path(shutil.copy(f"{copy}.wal", folder / "forged.wal"))


@pytest.fixture
def forged(layout: ProjectLayout, tmp_path: Path) -> ProjectLayout:
    """A project with a log beside the served generation, which changes what DuckDB alone reads from the file."""
    log = _forge_log(layout.generation_file(1), tmp_path)
    shutil.copy(log, f"{layout.generation_file(1)}.wal")
    with duckdb.connect(str(layout.generation_file(1)), read_only=True) as connection:
        assert connection.execute("SELECT DISTINCT title FROM item").fetchall() == [("forged",)]
    return layout


@pytest.mark.parametrize(
    "args", [["sql", "SELECT title FROM item"], ["show", "user", "u0"], ["show", "item", "i0"], ["sql", "--query", "coverage"]]
)  # fmt: skip
def test_no_reader_opens_a_generation_with_a_log_beside_it(forged: ProjectLayout, args: list[str]) -> None:
    result = CliRunner().invoke(cli, ["--project", str(forged.root), *args])
    assert (result.exit_code, result.stdout) == (4, "")
    assert "the stray file 000001.duckdb.wal lies beside it" in result.stderr
    assert "then delete it" in result.stderr
    Path(f"{forged.generation_file(1)}.wal").unlink()
    assert CliRunner().invoke(cli, ["--project", str(forged.root), *args]).exit_code == 0


def test_check_doctor_and_forget_report_the_log(forged: ProjectLayout) -> None:
    before = hashlib.sha256(forged.generation_file(1).read_bytes()).hexdigest()
    for args, code in ((["check"], 1), (["doctor"], 1), (["forget", "--user", "u0", "--yes"], 4)):
        result = CliRunner().invoke(cli, ["--project", str(forged.root), *args])
        assert result.exit_code == code, result.output
        assert "000001.duckdb.wal" in result.output
        assert hashlib.sha256(forged.generation_file(1).read_bytes()).hexdigest() == before


@pytest.mark.parametrize(
    "name",
    [
        "data/generations/000001.duckdb.wal",
        "data/generations/000001.duckdb.wal.recovery",
        "data/generations/000001.duckdb.wal.checkpoint",
        "data/generations/000001.duckdb.tmp",  # a file; DuckDB creates a folder of this name
        "data/generations/000001.duckdb.other",
        "data/serving.duckdb.wal",
    ],
)
def test_every_name_beside_a_generation_is_stray(layout: ProjectLayout, name: str) -> None:
    (layout.root / name).write_bytes(b"")
    with pytest.raises(InputError, match="stray file"):
        query(layout, "SELECT 1")
    result = CliRunner().invoke(cli, ["--project", str(layout.root), "check"])
    assert result.exit_code == 1
    assert Path(name).name in result.output


def test_the_folder_for_temporary_files_of_a_reader_is_not_stray(layout: ProjectLayout) -> None:
    Path(f"{layout.generation_file(1)}.tmp").mkdir()
    assert query(layout, "SELECT 1").num_rows == 1


def test_a_log_beside_the_previous_generation_is_refused_too(layout: ProjectLayout) -> None:
    publish(layout, DuckDBStore(layout), "recommend-1")  # without the evaluation, so it is another generation
    Path(f"{layout.generation_file(1)}.wal").write_bytes(b"")
    with pytest.raises(InputError, match=r"000001\.duckdb\.wal lies beside it"):
        query(layout, "SELECT title FROM previous.item")


def test_publish_removes_the_log_of_the_served_name(layout: ProjectLayout) -> None:
    Path(f"{layout.serving}.wal").write_bytes(b"")
    publish(layout, DuckDBStore(layout), "recommend-1", evaluate_run_ids=["evaluate-1"])
    assert query(layout, "SELECT title FROM item WHERE item_id = 'i0'").to_pylist() == [{"title": "Title 0"}]
