"""Days, waits, and what is popular at a moment; right values by hand."""

from __future__ import annotations

import numpy as np

from semconv.data.calendar import GAP_ROWS, Calendar
from semconv.data.histories import Histories
from semconv.data.store import UNKNOWN_DAY, UNKNOWN_TIME, day_numbers
from semconv.item_head.popularity import ItemEvents, MomentTable
from semconv.item_head.prompts import MomentEvents, Moments, PromptMaker

DAY = 86_400_000_000


def test_times_become_days() -> None:
    assert day_numbers(np.array([0, DAY - 1, DAY, -1, UNKNOWN_TIME])).tolist() == [0, 0, 1, -1, UNKNOWN_DAY]


def test_a_few_wrong_times_of_long_ago_add_no_periods_and_no_moments() -> None:
    days = np.concatenate([np.arange(15_000, 15_200), [0, 0, 365, 9_000, 30_000]])
    calendar = Calendar.of(days)
    assert calendar == Calendar.of(np.arange(15_000, 15_200))
    assert calendar.period_rows(np.array([0, 9_000, 15_000, 30_000])).tolist() == [1, 1, 1, calendar.num_periods]
    items = np.zeros(len(days), dtype=np.int32)
    table = MomentTable.on_grid(ItemEvents.of(days, items, 1))
    assert table.days.tolist() == [*range(15_000, 15_200, 30), 15_200]
    counted = np.expm1(table.features[:-1, :3, 0].astype(float)).sum(axis=1)  # wrong times still count as earlier days
    assert np.allclose(counted, table.days - 15_000 + 4)


def test_a_night_long_after_the_latest_item_gets_the_last_group_of_waits() -> None:
    """The moment changes the wait alone; the dates of the history stay."""
    history = Histories(np.array([0]), np.array([2]), np.array([0, 1], dtype=np.int32), np.array([390, 400]) * DAY)
    maker = PromptMaker(Calendar.of(np.array([390, 400])), np.ones(2, dtype=bool), length=5)
    prompts = []
    for wait in (0, 1, 365, 2895, 2896, 100_000):
        night = np.array([400 + wait])
        moments = Moments(MomentTable.at(events(), night), night)
        prompts += maker.prompts(history, np.array([0], dtype=np.int32), moments)
    assert [prompt.wait for prompt in prompts] == [1, 2, 10, GAP_ROWS - 2, GAP_ROWS - 1, GAP_ROWS - 1]
    assert {(*prompt.periods.tolist(), *prompt.gaps.tolist(), prompt.moment) for prompt in prompts} == {(1, 1, 0, 4, 0)}


def events() -> ItemEvents:
    days = np.array([400, 100, 390, 300, 399, UNKNOWN_DAY])
    return ItemEvents.of(days, np.array([0, 0, 1, 1, 1, 2], dtype=np.int32), 3)


def test_popularity_counts_only_earlier_days() -> None:
    recent, middle, earlier, is_new = events().features(400)
    assert np.expm1(recent).round().tolist() == [0, 2, 0]
    assert np.expm1(middle).round().tolist() == [0, 1, 0]
    assert np.expm1(earlier).round().tolist() == [1, 0, 0]
    assert is_new.tolist() == [0, 0, 1]
    assert np.expm1(events().features(401)[0]).round().tolist() == [1, 2, 0]


def test_a_moment_is_never_later_than_the_day_that_asks() -> None:
    table = MomentTable.on_grid(events())
    assert table.days[0] == 100
    assert table.days[-1] == 401
    rows = table.rows(np.array([100, 129, 130, 400, 401, 9999, 99, UNKNOWN_DAY]))
    unknown = len(table.days)
    assert rows.tolist()[-2:] == [unknown, unknown]
    assert (table.days[rows[:-2]] <= np.array([100, 129, 130, 400, 401, 9999])).all()
    assert rows[:3].tolist() == [0, 0, 1]
    assert not table.features[unknown].any()


def test_a_large_catalogue_gets_fewer_moments() -> None:
    days = np.arange(0, 36_000, 10)
    table = MomentTable.on_grid(ItemEvents.of(days, np.zeros(len(days), dtype=np.int32), 100_000))
    assert table.features.size <= 64_000_000 + 4 * 100_000
    assert len(table.days) > 100


def test_users_and_some_of_them_share_one_table() -> None:
    everybody = MomentEvents(events(), np.array([150, 250, 350]), None)
    some = everybody.of_users(np.array([2]))
    assert some.moments().days.tolist() == [350]
    assert some.moments().table is everybody.moments().table
    assert np.array_equal(some.moments().table.features, MomentTable.on_grid(events()).features)
