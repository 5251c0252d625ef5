"""The runs that may not be published: damaged, unfinished, of other lists, or with rows that break a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from semconv.errors import CheckFailedError, InputError, LockedError, SemconvError, SettingsError
from semconv.locks import run_lock
from semconv_warehouse.publish.generation_files import served_generation
from semconv_warehouse.publish.publications import publications
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.published import (
    NUM_USERS,
    SERVE,
    Project,
    add_recommend_run,
    add_run,
    change,
    item,
    item_codes,
    lists,
)


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
