"""The moment of a night: the newest interaction, wherever it stands; a time in the far future changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from semconv import clock
from semconv.data.calendar import Calendar
from semconv.data.histories import Histories
from semconv.data.store import UNKNOWN_DAY, UNKNOWN_TIME, day_numbers
from semconv.settings.tasks import TaskSettings
from semconv.stages.blend.run import list_days
from semconv.stages.tune.item_setup import SplitMoments
from semconv.tasks.selection import task_data
from semconv_warehouse.project import Project
from tests.worlds import dated
from tests.worlds import projects as case
from tests.worlds.dated_sequences import dated_sequences

DAY = 86_400_000_000
YEAR_2099 = 4_070_908_800_000_000


def test_the_day_of_a_future_time_is_unknown() -> None:
    times = np.array([10 * DAY + 5, UNKNOWN_TIME, YEAR_2099])
    assert day_numbers(times).tolist() == [10, UNKNOWN_DAY, UNKNOWN_DAY]
    assert Calendar.of(day_numbers(times)) == Calendar(10, 1)


def test_a_night_is_that_of_the_newest_interaction_also_if_it_is_the_last_of_no_user() -> None:
    sequences = dated_sequences([4, 3], 5)
    sequences.times[:] = np.array([10, 30, 20, 20, 5, 25, 6]) * DAY  # ordered by position
    days = list_days(sequences, Histories.under(sequences, "serve"), "serve")
    assert days.tolist() == [30, 30]
    assert (SplitMoments(sequences, "serve", "[:-2]").days() - 1).tolist() == [30, 30]


def test_a_future_time_is_not_the_moment_of_the_night(tmp_path: Path) -> None:
    shutil.copytree(dated.tuned_template(), tmp_path / "project")
    project = Project.open(tmp_path / "project", progress=case.Remarks())

    def moments() -> tuple[int | None, float, Calendar]:
        sequences = project.workspace.sequences()
        found = SplitMoments(sequences, "serve", "[:-2]").events(case.NUM_ITEMS, is_dated=True)
        assert found.day is not None
        (day,) = np.unique(list_days(sequences, Histories.under(sequences, "serve"), "serve"))
        return found.day, day, Calendar.of(day_numbers(sequences.times))

    before = moments()
    event = {"user_id": case.user_id(0), "item_id": case.item_id(1), "source_position": 99, "event_time": "2099-01-01"}
    project.ingest_interactions([case.write_lines(tmp_path / "events.jsonl", [event])], {})
    assert moments() == before


def test_a_time_that_was_unknown_when_a_training_read_its_data_stays_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.seconds_since_1970()
    sequences = dated_sequences([3, 4], 5)
    last = sequences.offsets[1:] - 1
    sequences.times[last] = [int((now + 25 * 3600) * 1e6), int((now + 23 * 3600) * 1e6)]
    none: list[str | None] = [None] * 5
    data = task_data(sequences, np.ones(5, dtype=bool), none, none, TaskSettings(query=False, negatives=0))
    histories = Histories.under(sequences, "serve")
    before = day_numbers(data.times)
    assert (before == UNKNOWN_DAY).tolist() == [False, False, True, False, False, False, False]
    monkeypatch.setattr(clock, "seconds_since_1970", lambda: now + 2 * 3600)  # the second epoch
    np.testing.assert_array_equal(day_numbers(data.times), before)
    np.testing.assert_array_equal(day_numbers(histories.times), before)
    assert day_numbers(Histories.under(sequences, "serve").times)[2] != UNKNOWN_DAY
