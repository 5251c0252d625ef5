"""Periods, gaps, and what is popular at a moment; right values by hand."""

from __future__ import annotations

import numpy as np

from semconv.data.histories import Histories
from semconv.data.store import UNKNOWN_DAY, UNKNOWN_TIME, day_numbers
from semconv.item_head.calendar import GAP_ROWS, PERIOD_DAYS, Calendar, gap_rows, gaps_before
from semconv.item_head.popularity import ItemEvents, MomentTable
from semconv.item_head.prompts import Moments, PromptMaker

DAY = 86_400_000_000


def test_times_become_days() -> None:
    assert day_numbers(np.array([0, DAY - 1, DAY, -1, UNKNOWN_TIME])).tolist() == [0, 0, 1, -1, UNKNOWN_DAY]


def test_periods_have_sixty_days_and_other_days_get_the_nearest() -> None:
    calendar = Calendar.of(np.array([100, UNKNOWN_DAY, 100 + 2 * PERIOD_DAYS, 130]))
    assert (calendar.first_day, calendar.num_periods) == (100, 3)
    days = np.array([100, 159, 160, 220, 5000, -50, UNKNOWN_DAY])
    assert calendar.period_rows(days).tolist() == [1, 1, 2, 3, 3, 1, 0]
    assert calendar.period_starts(days).tolist() == [100, 100, 160, 220, 4960, -80, UNKNOWN_DAY]


def test_without_any_day_there_are_no_periods() -> None:
    calendar = Calendar.of(np.array([UNKNOWN_DAY]))
    assert calendar == Calendar(0, 0)
    assert calendar.period_rows(np.array([5, UNKNOWN_DAY])).tolist() == [0, 0]


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


def test_a_pause_of_less_than_five_years_divides_nothing() -> None:
    assert Calendar.of(np.array([0, 5 * 365])).num_periods == 5 * 365 // PERIOD_DAYS + 1
    assert Calendar.of(np.array([0, 5 * 365 + 1, 5 * 365 + 2])) == Calendar(5 * 365 + 1, 1)


def test_gaps_are_powers_of_two() -> None:
    later = np.array([10, 11, 13, 17, 10 + 4096, 10**7, 9, UNKNOWN_DAY])
    assert gap_rows(np.full(8, 10), later).tolist() == [1, 2, 3, 4, 13, GAP_ROWS - 1, 0, 0]
    assert gap_rows(np.array([UNKNOWN_DAY]), np.array([3])).tolist() == [0]


def test_the_first_event_of_a_user_has_no_gap() -> None:
    days, offsets = np.array([5, 5, 8, 100, 101]), np.array([0, 3, 3, 5])
    assert gaps_before(days, offsets).tolist() == [0, 1, 3, 0, 2]


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
