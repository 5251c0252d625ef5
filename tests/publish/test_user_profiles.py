"""Profiles of users in a generation and in Feast's files; types of events in a user's history."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from semconv.errors import SettingsError
from semconv_warehouse.erase.forgetting import _TABLES
from semconv_warehouse.features.export import export_features, feature_file, has_rows
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.serving.query import query
from semconv_warehouse.serving.show import show_user
from tests.worlds.published import Project, add_recommend_run, make_project, user
from tests.worlds.reading import reading


@pytest.fixture
def project(tmp_path: Path) -> Project:
    layout, store = make_project(tmp_path / "project")
    with store.write() as connection:
        connection.exec_driver_sql(
            """INSERT INTO user_profile VALUES ('u1', 'DE', '{"age": 30}'), ('u2', NULL, NULL)"""
        )
        connection.exec_driver_sql("UPDATE interaction SET event_type = 'buy' WHERE user_id = 'u1' AND position = 1")
    publish(layout, store, "recommend-1")
    return layout, store


def test_a_publication_has_profiles_and_types(project: Project) -> None:
    layout, _ = project
    with reading(layout.serving) as connection:
        found = connection.execute("SELECT * FROM current_user_profile ORDER BY user_id").fetchall()
    assert found == [("u1", "DE", '{"age": 30}', 1), ("u2", None, None, 1)]
    assert [row["event_type"] for row in show_user(layout, "u1")["history"]] == [None, "buy"]


def test_a_changed_profile_is_published_without_new_lists(project: Project) -> None:
    layout, store = project
    assert not publish(layout, store, "recommend-1").is_new
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE user_profile SET market = 'AT' WHERE user_id = 'u1'")
    assert publish(layout, store, "recommend-1").is_new
    with reading(layout.serving) as connection:
        assert ("u1", "AT") in connection.execute("SELECT user_id, market FROM current_user_profile").fetchall()


def test_feast_gets_profiles_and_nulls_for_those_that_are_gone(project: Project) -> None:
    layout, store = project
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM user_profile WHERE user_id = 'u1'")
    add_recommend_run(store, "recommend-2", {user(0): ["i5"]})
    publish(layout, store, "recommend-2")
    assert export_features(layout, store) == [1, 2]
    assert has_rows(layout, "user_profile")
    query = "SELECT user_id, market, attributes, generation FROM read_parquet(?) ORDER BY user_id"
    with duckdb.connect() as connection:
        files = [str(feature_file(layout, "user_profile", number)) for number in (1, 2)]
        first, second = (connection.execute(query, [file]).fetchall() for file in files)
    assert first == [("u1", "DE", '{"age": 30}', 1), ("u2", None, None, 1)]
    assert second == [("u1", None, None, None), ("u2", None, None, 2)]


def test_a_generation_of_an_earlier_version_has_neither(project: Project) -> None:
    layout, store = project
    layout.serving.unlink()
    generation = layout.generation_file(1)
    generation.chmod(0o600)
    with duckdb.connect(str(generation)) as connection:
        connection.execute("DROP VIEW current_user_profile; DROP VIEW target_event; DROP TABLE user_profile")
        connection.execute("ALTER TABLE user_history DROP COLUMN event_type")
    layout.serving.hardlink_to(generation)
    assert [row["event_type"] for row in show_user(layout, "u1")["history"]] == [None, None]
    assert export_features(layout, store) == [1]
    assert not has_rows(layout, "user_profile")
    with pytest.raises(
        SettingsError, match="no view target_event; `semconv publish` writes a generation with the view"
    ):
        query(layout, "SELECT * FROM target_event")


def test_forget_knows_every_table_of_users(project: Project) -> None:
    _, store = project
    with store.read() as connection:
        sql = "SELECT DISTINCT table_name FROM duckdb_columns() WHERE column_name = 'user_id'"
        tables = set(connection.exec_driver_sql(sql).scalars())
    assert tables - {"user_account"} == set(_TABLES)
