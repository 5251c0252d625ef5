"""The content of a generation file, the inputs that make a new one, and the runs that may be published."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from semconv.artifacts import run_lock
from semconv.errors import CheckFailedError, InputError, LockedError, SemconvError, SettingsError
from semconv_warehouse.publish.generation_files import served_generation
from semconv_warehouse.publish.publications import publications
from semconv_warehouse.publish.publishing import publish, rollback
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.clock import clock_at
from tests.worlds.published import (
    NUM_USERS,
    SERVE,
    Project,
    add_recommend_run,
    add_run,
    copy_project,
    item,
    item_codes,
    item_vectors,
    lists,
    make_project,
    metrics,
    user,
    user_vectors,
)
from tests.worlds.reading import reading

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("template") / "project")[0].root


@pytest.fixture(scope="module")
def published_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout, store = copy_project(template, tmp_path_factory.mktemp("published") / "project")
    publish(layout, store, "recommend-1")
    return layout.root


@pytest.fixture
def published(published_template: Path, tmp_path: Path) -> Project:
    """Generation 1 of recommend-1 is served."""
    return copy_project(published_template, tmp_path / "project")


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    return copy_project(template, tmp_path / "project")


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with reading(path) as connection:
        return connection.execute(statement).fetchall()


def change(store: DuckDBStore, statement: str) -> None:
    with store.write() as connection:
        connection.execute(sa.text(statement))


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


def _unfinished(layout: ProjectLayout, store: DuckDBStore) -> None:
    store.fail_run("codebook-1", "stopped")


def _two_code_sets(layout: ProjectLayout, store: DuckDBStore) -> None:
    add_run(store, "codebook-2", "codebook", inputs=["embed-1"])
    add_run(store, "finetune-1", "finetune", inputs=["codebook-2"])


def _no_parts(layout: ProjectLayout, store: DuckDBStore) -> None:
    (layout.runs / "recommend-1" / "part-00000.parquet").unlink()


def _damaged_part(layout: ProjectLayout, store: DuckDBStore) -> None:
    (layout.runs / "recommend-1" / "part-00000.parquet").write_bytes(b"PAR1 and then nothing")


def _empty_part(layout: ProjectLayout, store: DuckDBStore) -> None:
    add_recommend_run(store, "recommend-1", {})


def _two_widths(layout: ProjectLayout, store: DuckDBStore) -> None:
    change(store, "UPDATE item_embedding SET vector = [1.0] WHERE item_id = 'i3'")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (_unfinished, InputError, "codebook-1 .* is failed"),
        (_two_code_sets, InputError, "two code sets"),
        (_no_parts, InputError, "no part"),
        (_damaged_part, InputError, "damaged"),
        (_empty_part, InputError, "recommended nothing"),
        (_two_widths, CheckFailedError, "different lengths"),
    ],
)
def test_bad_input_is_refused_and_leaves_no_file(
    project: Project, spoil: Callable[[ProjectLayout, DuckDBStore], None], error: type[SemconvError], message: str
) -> None:
    layout, store = project
    spoil(layout, store)
    with pytest.raises(error, match=message):
        publish(layout, store, "recommend-1")
    assert not layout.serving.exists()
    assert not list(layout.generations.glob("*.duckdb*"))
    assert not list(layout.generations.glob(".*"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**SERVE, "split": "test"}, "split test"),
        ({**SERVE, "split": "valid"}, "split valid"),
        ({"recommend": {}}, "split None"),
        ({**SERVE, "where": "brand = 'x'"}, "--where"),
    ],
)
def test_lists_for_an_evaluation_or_a_condition_are_refused(
    project: Project, settings: dict[str, Any], message: str
) -> None:
    layout, store = project
    add_recommend_run(store, "recommend-2", lists(), settings=settings)
    with pytest.raises(SettingsError, match=message):
        publish(layout, store, "recommend-2")


@pytest.mark.parametrize(
    ("run_id", "message"), [("nobody", "there is no run nobody"), ("codebook-1", "belongs to stage codebook")]
)
def test_a_run_that_is_no_recommend_run(project: Project, run_id: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        publish(*project, run_id)


@pytest.mark.parametrize(
    ("top_k", "columns", "check"),
    [
        (lists(), {"rank": [1, 1, 2] * NUM_USERS}, "generation_rank_gap"),
        (lists(), {"rank": [1, 2, 4] * NUM_USERS}, "generation_rank_gap"),
        (lists(), {"rank": [0, 1, 2] * NUM_USERS}, "generation_rank_gap"),
        ({"u0": ["i1", "i1"]}, {}, "generation_duplicate_recommended_item"),
        ({"u0": ["i1", "x"]}, {}, "generation_unknown_item"),
        ({"u0": ["i1"]}, {"reason_item_id": ["x"]}, "generation_unknown_item"),
        ({"u0": ["i1", "i9"]}, {}, "generation_unavailable_item"),
        ({"u2": ["i3", "i1"]}, {}, "seen_item_recommended"),
        ({"u0": ["i1", "i2"]}, {"score": [0.5, float("nan")]}, "generation_bad_score"),
        ({"u0": ["i1", "i2"]}, {"score": [None, 0.5]}, "generation_bad_score"),
        ({"u7": ["i1"]}, {}, "publish_unknown_user"),
    ],
)
def test_offending_rows_keep_a_generation_from_being_published(
    published: Project, top_k: dict[str, list[str]], columns: dict[str, Any], check: str
) -> None:
    layout, store = published
    add_recommend_run(store, "recommend-2", top_k, columns=columns)
    with pytest.raises(CheckFailedError, match=check) as failure:
        publish(layout, store, "recommend-2")
    assert "\n" not in str(failure.value)
    assert failure.value.exit_code == 1
    assert served_generation(layout) == 1
    assert {path.name for path in layout.generations.iterdir()} == {"000001.duckdb", "lock"}
    assert len(publications(store)) == 1


def test_items_beyond_the_stored_history_count_as_seen(project: Project) -> None:
    layout, store = project
    change(store, "DELETE FROM interaction WHERE user_id = 'u0'")
    change(
        store,
        "INSERT INTO interaction BY NAME SELECT 'u0' AS user_id, CASE i WHEN 0 THEN 'i1' ELSE 'i0' END AS item_id, i AS position FROM range(30) r(i)",
    )
    with pytest.raises(CheckFailedError, match="seen_item_recommended: 1 rows") as failure:
        publish(layout, store, "recommend-1")
    assert "recent_item" not in str(failure.value)


def test_seen_items_may_be_published_when_they_were_kept(project: Project) -> None:
    layout, store = project
    add_recommend_run(store, "recommend-2", {"u2": ["i3", "i1"]}, settings={**SERVE, "recommend": {"seen": "kept"}})
    assert publish(layout, store, "recommend-2").generation == 1


@pytest.mark.parametrize(("collisions", "is_refused"), [("resolve", True), ("keep", False)])
def test_shared_codes(project: Project, collisions: str, is_refused: bool) -> None:
    layout, store = project
    codes = item_codes("assign-1", [0]).set_column(1, "item_id", [[item(8)]])
    add_run(store, "assign-1", "assign", inputs=["codebook-1"], tables={"item_code": codes})
    change(
        store,
        f'UPDATE run SET settings = \'{{"codebook": {{"collisions": "{collisions}"}}}}\' WHERE run_id = \'codebook-1\'',
    )
    if is_refused:
        with pytest.raises(CheckFailedError, match="generation_duplicate_code: 1 rows"):
            publish(layout, store, "recommend-1")
    else:
        assert publish(layout, store, "recommend-1").generation == 1


def test_codes_of_an_unknown_item(project: Project) -> None:
    layout, store = project
    codes = item_codes("assign-1", [8]).set_column(1, "item_id", [["x"]])
    add_run(store, "assign-1", "assign", inputs=["codebook-1"], tables={"item_code": codes})
    with pytest.raises(CheckFailedError, match="generation_code_unknown_item"):
        publish(layout, store, "recommend-1")


def test_one_publish_at_a_time(project: Project) -> None:
    layout, store = project
    with run_lock(layout.generations), pytest.raises(LockedError, match="being published"):
        publish(layout, store, "recommend-1")


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
