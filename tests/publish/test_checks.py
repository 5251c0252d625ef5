"""Every check of sql/checks passes on a good warehouse and finds the row that breaks its rule."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from semconv.errors import CheckFailedError, InputError
from semconv_warehouse.publish.checks import CheckResult, require_passed, run_checks
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.publish.sql_files import sql_files
from semconv_warehouse.store.layout import package_folder
from tests.worlds.published import make_project

CHECKS = package_folder("sql") / "checks"

_SPOILED_WAREHOUSE = {
    "warehouse_position_gap": "UPDATE interaction SET position = 7 WHERE user_id = 'u3' AND position = 2",
    "warehouse_interaction_unknown_id": "UPDATE interaction SET item_id = 'x' WHERE user_id = 'u3' AND position = 2",
    "warehouse_item_index_gap": "DELETE FROM item WHERE item_index = 0",
    "warehouse_user_index_gap": "DELETE FROM user_account WHERE user_index = 0",
    "warehouse_item_vector_width": "UPDATE item_embedding SET vector = [1.0] WHERE item_id = 'i3'",
    "warehouse_user_vector_width": "UPDATE user_embedding SET vector = ['nan'::FLOAT, 1.0] WHERE user_id = 'u1'",
    "warehouse_code_unknown_item": "UPDATE item_code SET item_id = 'x' WHERE item_id = 'i3'",
    "warehouse_duplicate_code": "UPDATE item_code SET semantic_id = '<a_0><b_0>' WHERE item_id = 'i3'",
    "warehouse_profile_unknown_user": "INSERT INTO user_profile VALUES ('x', NULL, NULL)",
    "warehouse_publication_order": "INSERT INTO publication VALUES (2, 1, TIMESTAMP '2000-01-01')",
}
_SPOILED_GENERATION = {
    "generation_rank_gap": "UPDATE recommendation SET rank = 4 WHERE user_id = 'u1' AND rank = 3",
    "generation_duplicate_recommended_item": "UPDATE recommendation SET item_id = 'i2' WHERE user_id = 'u1'",
    "generation_unknown_item": "UPDATE recommendation SET item_id = 'x' WHERE user_id = 'u1' AND rank = 1",
    "generation_unavailable_item": "UPDATE recommendation SET item_id = 'i9' WHERE user_id = 'u1' AND rank = 1",
    "seen_item_recommended": "UPDATE recommendation SET item_id = 'i1' WHERE user_id = 'u1' AND rank = 1",
    "generation_bad_score": "UPDATE recommendation SET score = 'infinity' WHERE user_id = 'u1' AND rank = 1",
    "generation_code_unknown_item": "UPDATE item_code SET item_id = 'x' WHERE item_id = 'i3'",
    "generation_item_with_two_codes": "UPDATE item_code SET item_id = 'i4' WHERE item_id = 'i3'",
    "generation_duplicate_code": "UPDATE item_code SET semantic_id = '<a_0><b_0>' WHERE item_id = 'i3'",
    "generation_code_length": "UPDATE item_code SET codes = [1] WHERE item_id = 'i3'",
    "generation_item_vector": "UPDATE item_embedding SET vector = ['nan', '1']::FLOAT[2] WHERE item_id = 'i3'",
    "generation_user_vector": "UPDATE user_embedding SET user_id = 'u0'",
}


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    layout, store = make_project(tmp_path_factory.mktemp("checks") / "project")
    publish(layout, store, "recommend-1")
    return {"warehouse": layout.warehouse, "generation": layout.serving}


def spoiled(source: Path, folder: Path, statement: str = "") -> duckdb.DuckDBPyConnection:
    copy = folder / "copy.duckdb"
    shutil.copyfile(source, copy)
    connection = duckdb.connect(str(copy))
    if statement:
        connection.execute(statement)
    return connection


@pytest.mark.parametrize("database", ["warehouse", "generation"])
def test_good_databases_pass(databases: dict[str, Path], tmp_path: Path, database: str) -> None:
    with spoiled(databases[database], tmp_path) as connection:
        results = run_checks(connection, database)  # type: ignore[arg-type]
    assert results
    assert all(result.passed for result in results)


@pytest.mark.parametrize(("database", "name", "statement"), [
    *(("warehouse", *spoil) for spoil in _SPOILED_WAREHOUSE.items()),
    *(("generation", *spoil) for spoil in _SPOILED_GENERATION.items()),
])  # fmt: skip
def test_each_check_finds_a_broken_rule(
    databases: dict[str, Path], tmp_path: Path, database: str, name: str, statement: str
) -> None:
    with spoiled(databases[database], tmp_path, statement) as connection:
        results = {result.name: result for result in run_checks(connection, database)}  # type: ignore[arg-type]
    assert not results[name].passed
    assert results[name].examples
    assert results[name].rule in results[name].summary()


def test_each_check_is_tested() -> None:
    """Checks that run during a publish are tested in test_generation.py."""
    names = {file.name for database in ("warehouse", "generation") for file in sql_files(CHECKS, database)}
    assert names == _SPOILED_WAREHOUSE.keys() | _SPOILED_GENERATION.keys()
    publishing = {file.name for file in sql_files(CHECKS, "publish")}
    assert publishing == {"seen_item_recommended", "publish_unknown_user"}
    assert {path.stem for path in CHECKS.glob("*.sql")} == names | publishing


@pytest.mark.parametrize("folder", ["checks", "views", "queries", "migrations", "baselines"])
def test_every_sql_file_names_its_database(folder: str) -> None:
    files = list((package_folder("sql") / folder).glob("*.sql"))
    assert files
    assert [path.name for path in files if not path.read_text().startswith("-- database: ")] == []


def test_all_offending_rows_are_counted_and_three_are_shown(databases: dict[str, Path], tmp_path: Path) -> None:
    with spoiled(databases["generation"], tmp_path, "UPDATE recommendation SET score = 'nan'") as connection:
        results = {result.name: result for result in run_checks(connection, "generation")}
    assert results["generation_bad_score"].num_rows == 12
    assert len(results["generation_bad_score"].examples) == 3
    with pytest.raises(CheckFailedError, match="context: generation_bad_score: 12 rows"):
        require_passed(results.values(), "context")


def test_passing_results_raise_nothing() -> None:
    require_passed([CheckResult("a", "warehouse", "rule", 0)], "context")


def test_a_check_that_cannot_run_is_named(tmp_path: Path) -> None:
    with duckdb.connect() as connection, pytest.raises(InputError, match="check generation_bad_score cannot run"):
        run_checks(connection, "generation")


def test_a_file_without_its_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lost.sql").write_text("SELECT 1\n\n\n")
    with pytest.raises(InputError, match=r"lost\.sql: line 1 must be"):
        sql_files(tmp_path, "warehouse")
    with pytest.raises(InputError, match="missing"):
        sql_files(tmp_path / "nowhere", "warehouse")


_BUY = {"events": {"weights": [["return", -1.0], ["view", 0.1]], "targets": ["buy"]}}


@pytest.mark.parametrize(
    ("settings", "types", "passes"),
    [
        (_BUY, "view view view view", True),
        (_BUY, "view buy view view", False),  # u1 has bought i1
        (_BUY, "buy buy buy view", False),
        ({"events": {"weights": [["return", -1.0]]}}, "view view view view", False),
        ({**_BUY, "recommend": {"seen": "masked", "seen_types": ["view"]}}, "buy view buy buy", False),
        ({**_BUY, "recommend": {"seen": "masked", "seen_types": ["cart"]}}, "buy view buy buy", True),
        ({"recommend": {"seen": "kept"}}, "view buy view view", True),
        ({"recommend": {"seen": "masked", "seen_days": 3}}, "view buy view view", True),
    ],
)
def test_only_masking_types_break_the_rule_of_seen_items(
    databases: dict[str, Path], tmp_path: Path, settings: dict[str, Any], types: str, passes: bool
) -> None:
    """The list of u1 has i1, position 1 of the history. The types are those of the positions 0 to 3."""
    settings = {"recommend": {"seen": "masked"}, "split": "serve", **settings}
    statement = f"""
    UPDATE recommendation SET item_id = 'i1' WHERE user_id = 'u1' AND rank = 1;
    UPDATE user_history SET event_type = list_extract(string_split('{types}', ' '), position + 1);
    UPDATE run SET settings = '{json.dumps(settings)}' WHERE stage = 'recommend'
    """
    with spoiled(databases["generation"], tmp_path, statement) as connection:
        found = {result.name: result for result in run_checks(connection, "generation")}
        assert found["seen_item_recommended"].passed == passes
        connection.execute("ATTACH ':memory:' AS warehouse")
        connection.execute("CREATE TABLE warehouse.interaction AS SELECT * FROM user_history")
        connection.execute("CREATE TABLE warehouse.user_account AS SELECT DISTINCT user_id FROM user_history")
        found = {result.name: result for result in run_checks(connection, "publish")}
        assert found["seen_item_recommended"].passed == passes


def test_a_returned_item_may_be_recommended_and_an_old_generation_has_no_types(
    databases: dict[str, Path], tmp_path: Path
) -> None:
    settings = json.dumps({"recommend": {"seen": "masked"}, "split": "serve", **_BUY})
    statement = f"""
    UPDATE recommendation SET item_id = 'i1' WHERE user_id = 'u1' AND rank = 1;
    UPDATE user_history SET event_type = 'buy';
    INSERT INTO user_history BY NAME SELECT * REPLACE (9 AS position, 'return' AS event_type) FROM user_history
    WHERE user_id = 'u1' AND position = 1;
    UPDATE run SET settings = '{settings}' WHERE stage = 'recommend'
    """
    name = "seen_item_recommended"
    with spoiled(databases["generation"], tmp_path, statement) as connection:
        assert {result.name: result for result in run_checks(connection, "generation")}[name].passed
        connection.execute("ALTER TABLE user_history DROP COLUMN event_type")
        assert not {result.name: result for result in run_checks(connection, "generation")}[name].passed
