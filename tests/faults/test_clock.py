"""A clock that is set back does not change the order of publications, of features in Feast or of runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from semconv import clock
from semconv.progress import Silent
from semconv.runs.book import RunBook, StageRequest
from semconv.stages.lists.current import is_pass_due
from semconv_warehouse.features import online, repository
from semconv_warehouse.publish.publications import publications
from semconv_warehouse.publish.publishing import publish, rollback
from tests.worlds.published import add_recommend_run, lists, make_project

DAY = 86_400.0


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = clock.seconds_since_1970()
    return lambda days: monkeypatch.setattr(clock, "seconds_since_1970", lambda: now + days * DAY)


def test_publications_and_features_get_later_times_although_the_clock_goes_back(
    tmp_path: Path, set_clock: Callable[[float], None]
) -> None:
    layout, store = make_project(tmp_path / "project")
    repository.create_feature_repo(layout)
    publish(layout, store, "recommend-1")
    assert online.materialize(layout, store)["is_current"]
    set_clock(-30)
    add_recommend_run(store, "recommend-2", lists(1))
    publish(layout, store, "recommend-2")
    set_clock(-60)
    rollback(layout, store)
    set_clock(-61)
    known = publications(store)
    assert [entry.generation for entry in known] == [1, 2, 1]
    assert all(later.published_at > earlier.published_at for earlier, later in itertools.pairwise(known))
    status = online.materialize(layout, store)
    assert (status["is_current"], status["publications_behind"]) == (True, 0)
    found = online.get_features(layout, user="u1")
    assert found["user_top_k"] == {"item_ids": ["i2", "i3", "i4"], "scores": [-1.0, -2.0, -3.0], "generation": 1}


def test_the_run_that_finished_last_is_current_although_the_clock_goes_back(
    tmp_path: Path, set_clock: Callable[[float], None]
) -> None:
    layout, store = make_project(tmp_path / "project")
    book = RunBook(store, layout.root, layout.runs, Silent())
    nothing: Callable[[Path], dict[str, pa.Table]] = lambda folder: {}  # noqa: E731
    made = []
    for number, days in enumerate((0, -1, -400, -400, 2)):
        set_clock(days)
        made.append(book.execute(StageRequest("backbone", {"number": number}), nothing).record)
    assert len({run.run_id for run in made}) == len(made)
    assert [run.run_id for run in book.finished("backbone")] == [run.run_id for run in reversed(made)]
    assert [run.run_id for run in store.runs(stage="backbone")] == [run.run_id for run in reversed(made)]
    assert all(run.started_at and run.finished_at and run.started_at < run.finished_at for run in made)
    set_clock(-10)
    again = book.execute(StageRequest("backbone", {"number": 0}), nothing)
    assert again.is_reused
    assert book.finished("backbone")[0].run_id == made[0].run_id  # reused, so it is the current one again


@pytest.mark.parametrize(("days", "due"), [(0, False), (6.9, False), (7.1, True), (-1, False), (-8, True)])
def test_a_full_pass_dated_far_in_the_future_counts_as_due(days: float, due: bool) -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert is_pass_due(now - timedelta(days=days), now, 7) == due
    assert is_pass_due((now - timedelta(days=days)).replace(tzinfo=None), now, 7) == due
