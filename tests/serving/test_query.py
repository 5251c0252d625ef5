"""SQL on the served generation: views, macro, cookbook, refused statements, one user, one item."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from semconv.errors import InputError, SettingsError
from semconv_cli.main import cli
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.publish.sql_files import sql_files
from semconv_warehouse.serving.query import open_serving, query
from semconv_warehouse.serving.show import show_item, show_user
from semconv_warehouse.store.layout import ProjectLayout, package_folder
from tests.worlds.published import add_recommend_run, lists, make_project, user

COOKBOOK = {file.name: file.statement for file in sql_files(package_folder("sql") / "queries", "serving")}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> ProjectLayout:
    """Generation 2 is served: u0 has i7 instead of i3, and u3 has no list."""
    layout, store = make_project(tmp_path_factory.mktemp("serving") / "project")
    publish(layout, store, "recommend-1", evaluate_run_ids=["evaluate-1"])
    add_recommend_run(
        store, "recommend-2", {**{user(u): lists()[user(u)] for u in (1, 2)}, user(0): ["i1", "i2", "i7"]}
    )
    publish(layout, store, "recommend-2")
    return layout


@pytest.fixture(scope="module")
def first_layout(tmp_path_factory: pytest.TempPathFactory) -> ProjectLayout:
    layout, store = make_project(tmp_path_factory.mktemp("first") / "project")
    publish(layout, store, "recommend-1")
    return layout


def test_views(layout: ProjectLayout) -> None:
    shown = query(layout, "SELECT * FROM current_recommendation WHERE user_id = 'u0' ORDER BY rank")
    assert shown.column_names == [
        "user_id",
        "rank",
        "item_id",
        "title",
        "score",
        "sources",
        "reason_item_id",
        "reason_title",
        "generation",
    ]
    assert shown.to_pylist()[2] == {
        "user_id": "u0", "rank": 3, "item_id": "i7", "title": "Title 7", "score": -3.0, "sources": ["model"],
        "reason_item_id": "i0", "reason_title": "Title 0", "generation": 2,
    }  # fmt: skip
    codes = query(layout, "SELECT title, codes, semantic_id FROM current_item_code WHERE item_id = 'i6'")
    assert codes.to_pylist() == [{"title": "Title 6", "codes": [1, 2], "semantic_id": "<a_1><b_2>"}]
    usage = query(layout, "SELECT level, code, num_items FROM code_usage WHERE level = 0 ORDER BY code")
    assert [tuple(row.values()) for row in usage.to_pylist()] == [(0, 0, 4), (0, 1, 4), (0, 2, 1)]


def test_similar_items_are_the_neighbours_on_the_circle(layout: ProjectLayout) -> None:
    near = query(layout, "SELECT item_id FROM similar_item('i0', 3)")
    assert near.column("item_id").to_pylist() == ["i1", "i2", "i3"]
    assert query(layout, "SELECT * FROM similar_item('unknown', 3)").num_rows == 0


def test_the_previous_generation_is_attached(layout: ProjectLayout, first_layout: ProjectLayout) -> None:
    both = query(
        layout,
        "SELECT (SELECT any_value(generation) FROM recommendation) AS now, (SELECT any_value(generation) FROM previous.current_recommendation) AS before",
    )
    assert both.to_pylist() == [{"now": 2, "before": 1}]
    with pytest.raises(SettingsError, match="there is no `previous`; try again"):
        query(first_layout, "SELECT * FROM previous.item")


def test_the_cookbook_tells_what_changed(layout: ProjectLayout) -> None:
    changed = query(layout, COOKBOOK["changed_since_previous"]).to_pylist()
    assert changed == [
        {"user_id": "u0", "added": ["i7"], "dropped": ["i3"]},
        {"user_id": "u3", "added": None, "dropped": ["i4", "i5", "i6"]},
    ]


def test_the_cookbook_counts_coverage(layout: ProjectLayout) -> None:
    (row,) = query(layout, COOKBOOK["coverage"]).to_pylist()
    assert (row["num_users"], row["num_available_items"], row["num_recommended_items"]) == (3, 9, 6)
    assert row["item_coverage"] == pytest.approx(6 / 9)


@pytest.mark.parametrize(("limit", "num_rows"), [(None, 10), (0, 1), (3, 4), (10, 10), (11, 10)])
def test_at_most_one_row_more_than_the_limit_is_fetched(
    layout: ProjectLayout, limit: int | None, num_rows: int
) -> None:
    assert query(layout, "SELECT item_id FROM item", limit).num_rows == num_rows


def test_rows_beyond_the_limit_are_not_computed(layout: ProjectLayout) -> None:
    huge = query(layout, "SELECT a.range FROM range(1000000000) AS a", 5)
    assert huge.num_rows == 6


@pytest.mark.parametrize(
    "statement",
    [
        "EXPLAIN SELECT 1",
        "DESCRIBE item",
        "SHOW TABLES",
        "SUMMARIZE item",
        "FROM item",
        "WITH a AS (SELECT 1) FROM a",
        "PIVOT item ON title",
        "VALUES (1);",
    ],
)
def test_every_statement_that_reads_is_accepted(layout: ProjectLayout, statement: str) -> None:
    assert query(layout, statement).num_rows > 0


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM item", "DELETE is refused"),
        ("CREATE TABLE x (a INT)", "CREATE is refused"),
        ("CREATE TEMP TABLE x (a INT)", "CREATE is refused"),
        ("COPY item TO '{folder}/out.csv'", "COPY is refused"),
        ("EXPORT DATABASE '{folder}/out'", "EXPORT is refused"),
        ("ATTACH '{folder}/out.duckdb'", "ATTACH is refused"),
        ("INSTALL httpfs", "LOAD is refused"),
        ("SET enable_external_access = true", "SET is refused"),
        ("USE previous", "SET is refused"),
        ("CALL pragma_version()", "CALL is refused"),
        ("PRAGMA enable_profiling", "PRAGMA is refused"),
        ("PRAGMA table_info('item')", "PRAGMA is refused"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM '{folder}/x.parquet'", "disabled by configuration"),
        ("SELECT 1; SELECT 2", "the text has 2 statements"),
        ("", "the text has 0 statements"),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT * FROM nothing", "nothing does not exist!; `semconv sql .SHOW TABLES.`"),
        ("SELECT 1 / 'a'", "Could not convert"),
        ("SELECT * FROM previous.similar_item('i0', 1)", "only the served generation"),
        ('SELECT * FROM "previous" . main . similar_item(\'i0\', 1)', "only the served generation"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_in_one_line(
    layout: ProjectLayout, tmp_path: Path, statement: str, message: str
) -> None:
    before = hashlib.sha256(layout.serving.read_bytes()).hexdigest()
    with pytest.raises(SettingsError, match=message) as failure:
        query(layout, statement.format(folder=tmp_path))
    assert "\n" not in str(failure.value)
    assert failure.value.exit_code == 2
    assert hashlib.sha256(layout.serving.read_bytes()).hexdigest() == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("COPY item TO '{folder}/out.csv'", "disabled by configuration"),
        ("ATTACH '{folder}/out.duckdb' AS out", "disabled by configuration"),
        ("ATTACH ':memory:' AS out", None),  # in memory, so nothing is written
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM glob('/etc/*')", "disabled by configuration"),
        ("INSTALL httpfs", "disabled by configuration"),
        ("LOAD '{folder}/own.duckdb_extension'", "disabled through configuration"),
        ("EXPORT DATABASE '{folder}/out'", "disabled by configuration"),
        ("DELETE FROM item", "read-only"),
        ("INSERT INTO previous.item SELECT * FROM item", "read-only"),
        ("CREATE TABLE serving.mine (a INT)", "read-only"),
        ("SET enable_external_access = true", "locked"),
        ("SET temp_directory = '{folder}'", "locked"),
        ("RESET lock_configuration", "locked"),
    ],
)  # fmt: skip
def test_the_connection_itself_can_do_no_harm(
    layout: ProjectLayout, tmp_path: Path, statement: str, message: str | None
) -> None:
    """The connection refuses the statement itself, without the check of the statement in ``query``."""
    before = hashlib.sha256(layout.serving.read_bytes()).hexdigest()
    with open_serving(layout) as connection:
        if message is None:
            connection.execute(statement)
        else:
            with pytest.raises(duckdb.Error, match=message):
                connection.execute(statement.format(folder=tmp_path))
    assert hashlib.sha256(layout.serving.read_bytes()).hexdigest() == before
    assert not list(tmp_path.iterdir())


def test_the_macro_of_an_attached_generation_never_answers_with_rows_of_another(layout: ProjectLayout) -> None:
    """DuckDB looks a macro's tables up in the database in use, so the macro compares the generations."""
    with duckdb.connect() as connection:
        for name, generation in (("serving", 2), ("previous", 1)):
            connection.execute(f"ATTACH '{layout.generation_file(generation)}' AS {name} (READ_ONLY)")
        with pytest.raises(duckdb.CatalogException):
            connection.execute("FROM previous.similar_item('i0', 3)")
        connection.execute("USE serving")
        with pytest.raises(duckdb.InvalidInputException, match=r"generation 1 would read generation 2, .* run USE"):
            connection.execute("FROM previous.similar_item('i0', 3)")
        for name, generation in (("previous", 1), ("serving", 2)):
            connection.execute(f"USE {name}")
            found = connection.execute("SELECT DISTINCT generation FROM similar_item('i0', 3)").fetchall()
            assert found == [(generation,)]


def test_a_statement_may_begin_with_a_comment(layout: ProjectLayout) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(cli, ["--project", str(layout.root), "sql", *words])

    for comment in ("-- one number", "--one number=1", "-- a=b"):
        done = run(f"{comment}\nSELECT 1 AS n", "--csv")
        assert (done.exit_code, done.stdout) == (0, "n\n1\n")
    done = run("-- comment")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "only comments" in done.stderr
    assert run("--cvs", "SELECT 1").exit_code == 2


def test_show_user(layout: ProjectLayout) -> None:
    shown = show_user(layout, "u2")
    assert (shown["user_id"], shown["generation"]) == ("u2", 2)
    assert [row["item_id"] for row in shown["history"]] == ["i0", "i1", "i2"]
    assert [(row["rank"], row["title"], row["reason_title"]) for row in shown["recommendations"]] == [
        (1, "Title 3", "Title 0"), (2, "Title 4", "Title 0"), (3, "Title 5", "Title 0"),
    ]  # fmt: skip


def test_show_user_without_a_list(layout: ProjectLayout) -> None:
    shown = show_user(layout, "u3")
    assert len(shown["history"]) == 4
    assert shown["recommendations"] == []


def test_show_item(layout: ProjectLayout) -> None:
    shown = show_item(layout, "i7")
    assert (shown["title"], shown["codes"], shown["semantic_id"]) == ("Title 7", [1, 3], "<a_1><b_3>")
    assert shown["num_users_recommended_to"] == 1
    assert [row["item_id"] for row in shown["similar_items"][:2]] == ["i6", "i5"]


def test_show_item_without_codes_and_vector(layout: ProjectLayout) -> None:
    shown = show_item(layout, "i9")
    assert (shown["codes"], shown["is_available"], shown["similar_items"]) == (None, False, [])


def test_unknown_ids(layout: ProjectLayout) -> None:
    with pytest.raises(InputError, match="user 'x; DROP' is not in"):
        show_user(layout, "x; DROP")
    with pytest.raises(InputError, match="item 'x' is not in"):
        show_item(layout, "x")


def test_nothing_published(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is published"):
        query(ProjectLayout(tmp_path), "SELECT 1")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    layout = ProjectLayout(tmp_path)
    layout.data.mkdir()
    layout.serving.write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match=r"serving\.duckdb: damaged; `semconv run` or `semconv publish` creates it"):
        query(layout, "SELECT 1")
