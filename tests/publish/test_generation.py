"""The content of a generation file, and the inputs that make a new one."""

from __future__ import annotations

import shutil
import stat
from datetime import UTC, datetime, timedelta

import pytest

from semconv.errors import InputError
from semconv_warehouse.publish.generation_files import served_generation
from semconv_warehouse.publish.publications import publications
from semconv_warehouse.publish.publishing import publish, rollback
from tests.worlds.clock import clock_at
from tests.worlds.published import (
    SERVE,
    Project,
    add_recommend_run,
    add_run,
    change,
    item_vectors,
    lists,
    metrics,
    rows,
    user,
    user_vectors,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_file_holds_the_runs_under_the_lists(project: Project) -> None:
    layout, store = project
    add_run(store, "embed-2", "embed_behavior", tables={"item_embedding": item_vectors("embed-2")})
    publication = publish(layout, store, "recommend-1", evaluate_run_ids=["evaluate-1"])
    served = layout.serving
    assert publication.generation == publication.publication == 1
    assert rows(
        served, "SELECT user_id, list(item_id ORDER BY rank) FROM recommendation GROUP BY ALL ORDER BY ALL"
    ) == [(name, items) for name, items in lists().items()]
    assert rows(served, "SELECT DISTINCT run_id FROM item_embedding") == [("embed-1",)]
    assert rows(served, "SELECT run_id, count(*) FROM item_code GROUP BY ALL ORDER BY ALL") == [
        ("assign-1", 1),
        ("codebook-1", 8),
    ]
    assert rows(served, "SELECT run_id, value FROM metric") == [("evaluate-1", 0.25)]
    assert {name for (name,) in rows(served, "SELECT run_id FROM run")} == {
        "recommend-1", "finetune-1", "codebook-1", "assign-1", "embed-1", "text-1", "evaluate-1",
    }  # fmt: skip
    assert rows(served, "SELECT count(*) FROM item") == [(10,)]


def test_every_table_carries_the_generation_and_vectors_have_a_width(published: Project) -> None:
    layout, _ = published
    columns = rows(layout.serving, "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal")
    tables = {table for table, _, _ in columns}
    assert tables >= {
        "recommendation",
        "item",
        "item_code",
        "item_embedding",
        "user_embedding",
        "user_history",
        "user_profile",
        "metric",
        "run",
    }
    assert {table for table, column, _ in columns if column == "generation"} == tables
    assert {kind for table, column, kind in columns if column == "vector"} == {"FLOAT[2]"}
    assert ("recommendation", "rank", "INTEGER") in columns


def test_history_is_the_latest_twenty(project: Project) -> None:
    layout, store = project
    change(store, "DELETE FROM interaction WHERE user_id = 'u0'")
    change(
        store,
        "INSERT INTO interaction BY NAME SELECT 'u0' AS user_id, 'i0' AS item_id, i AS position FROM range(30) r(i)",
    )
    publish(layout, store, "recommend-1")
    assert rows(
        layout.serving, "SELECT min(position), max(position), count(*) FROM user_history WHERE user_id = 'u0'"
    ) == [(10, 29, 20)]


def test_the_file_is_read_only_and_linked_and_nothing_else_is_left(project: Project) -> None:
    layout, store = project
    publish(layout, store, "recommend-1")
    file = layout.generation_file(1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert file.samefile(layout.serving)
    assert {path.name for path in layout.generations.iterdir()} == {"000001.duckdb", "lock"}
    files = {path.name for path in layout.data.iterdir() if path.is_file()}
    assert files == {"serving.duckdb", "warehouse.duckdb", "lock"}


def test_project_without_vectors_and_codes_can_publish(project: Project) -> None:
    layout, store = project
    folder = layout.runs / "recommend-2"
    shutil.copytree(layout.runs / "recommend-1", folder)
    add_run(store, "recommend-2", "recommend", settings=SERVE)
    publish(layout, store, "recommend-2")
    assert rows(layout.serving, "SELECT count(*) FROM item_embedding") == [(0,)]
    assert rows(layout.serving, "SELECT * FROM similar_item('i1', 3)") == []


def test_same_inputs_make_no_second_generation(project: Project) -> None:
    layout, store = project
    first = publish(layout, store, "recommend-1")
    again = publish(layout, store, "recommend-1")
    assert first.is_new
    assert not again.is_new
    assert (again.publication, again.generation, again.published_at) == (1, 1, first.published_at)
    assert len(publications(store)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE item SET title = 'New' WHERE item_id = 'i5'",
        "INSERT INTO interaction BY NAME SELECT 'u0' AS user_id, 'i9' AS item_id, 1 AS position",
    ],
)
def test_changed_tables_make_a_new_generation(published: Project, statement: str) -> None:
    layout, store = published
    change(store, statement)
    assert publish(layout, store, "recommend-1").generation == 2


def test_other_figures_make_a_new_generation(published: Project) -> None:
    layout, store = published
    assert publish(layout, store, "recommend-1", evaluate_run_ids=["evaluate-1"]).generation == 2
    assert rows(layout.serving, "SELECT value FROM metric") == [(0.25,)]


def test_times_increase_by_whole_seconds_even_when_the_clock_is_set_back(project: Project) -> None:
    layout, store = project
    add_recommend_run(store, "recommend-2", lists(1))
    with clock_at(NOON + timedelta(milliseconds=700)):
        first = publish(layout, store, "recommend-1")
    with clock_at(NOON - timedelta(days=1)):
        second = publish(layout, store, "recommend-2")
    with clock_at(NOON):
        third = rollback(layout, store)
    assert [entry.published_at for entry in (first, second, third)] == [
        NOON,
        NOON + timedelta(seconds=1),
        NOON + timedelta(seconds=2),
    ]
    assert [entry.published_at for entry in publications(store)] == [
        first.published_at,
        second.published_at,
        third.published_at,
    ]


def test_rollback_is_a_new_publication_of_an_unchanged_file(project: Project) -> None:
    layout, store = project
    for number in (1, 2, 3):
        add_recommend_run(
            store,
            f"recommend-{number}",
            lists(number - 1) if number < 3 else lists(),
            settings={**SERVE, "again": number},
        )
        publish(layout, store, f"recommend-{number}")
    before = layout.generation_file(2).read_bytes()
    publication = rollback(layout, store)
    assert (publication.publication, publication.generation) == (4, 2)
    assert layout.generation_file(2).read_bytes() == before
    assert rows(layout.serving, "SELECT DISTINCT generation FROM recommendation") == [(2,)]
    assert rollback(layout, store).generation == 1
    with pytest.raises(InputError, match="no generation before 1"):
        rollback(layout, store)


def test_publish_after_rollback_serves_the_same_generation_again(published: Project) -> None:
    layout, store = published
    add_recommend_run(store, "recommend-2", lists(1))
    publish(layout, store, "recommend-2")
    rollback(layout, store)
    publication = publish(layout, store, "recommend-2")
    assert (publication.publication, publication.generation, publication.is_new) == (4, 2, True)
    assert served_generation(layout) == 2


def test_rollback_of_nothing(project: Project) -> None:
    with pytest.raises(InputError, match="nothing is published"):
        rollback(*project)


def test_lists_of_some_users_carry_the_others_over(published: Project) -> None:
    layout, store = published
    change(store, "UPDATE item SET is_available = false, removed_at = now()::TIMESTAMP WHERE item_id = 'i4'")
    change(store, "INSERT INTO interaction BY NAME SELECT 'u2' AS user_id, 'i3' AS item_id, 3 AS position")
    add_recommend_run(store, "recommend-2", {user(0): ["i7"]}, settings={**SERVE, "users": "file"})
    publish(layout, store, "recommend-2")
    served = rows(
        layout.serving,
        "SELECT user_id, list(item_id ORDER BY rank), list(rank ORDER BY rank) FROM recommendation GROUP BY ALL ORDER BY ALL",
    )
    assert served == [
        ("u0", ["i7"], [1]),
        ("u1", ["i2", "i3"], [1, 2]),  # i4 was removed
        ("u2", ["i5"], [1]),  # i3 is in the history now, i4 was removed
        ("u3", ["i5", "i6"], [1, 2]),
    ]
    assert rows(layout.serving, "SELECT DISTINCT generation FROM recommendation") == [(2,)]


def test_lists_of_some_users_are_published_alone_when_nothing_is_served(project: Project) -> None:
    layout, store = project
    add_recommend_run(store, "recommend-2", {user(0): ["i7"]}, settings={**SERVE, "users": "file"})
    publish(layout, store, "recommend-2")
    assert rows(layout.serving, "SELECT user_id, item_id FROM recommendation") == [("u0", "i7")]


def test_the_vectors_that_the_lists_were_made_with_are_published(project: Project) -> None:
    layout, store = project
    add_run(
        store,
        "embed-2",
        "embed_behavior",
        tables={"item_embedding": item_vectors("embed-2"), "user_embedding": user_vectors("embed-2")},
    )
    shutil.copytree(layout.runs / "recommend-1", layout.runs / "recommend-2")
    add_run(store, "recommend-2", "recommend", inputs=["finetune-1", "codebook-1", "embed-2"], settings=SERVE)
    add_run(store, "evaluate-2", "evaluate", inputs=["recommend-2"], tables={"metric": metrics("evaluate-2", 0.5)})
    publish(layout, store, "recommend-2", evaluate_run_ids=["evaluate-1", "evaluate-2"])
    assert rows(layout.serving, "SELECT DISTINCT run_id FROM item_embedding") == [("embed-2",)]
    assert rows(layout.serving, "SELECT DISTINCT run_id FROM user_embedding") == [("embed-2",)]
    assert rows(layout.serving, "SELECT value FROM metric ORDER BY value") == [(0.25,), (0.5,)]
    assert rows(layout.serving, "SELECT count(*) FROM item_code") == [(8,)]
