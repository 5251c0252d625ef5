"""Periods, gaps and moments of prediction; right values by hand."""

from __future__ import annotations

import numpy as np

from semconv.data.calendar import GAP_ROWS, PERIOD_DAYS, Calendar, gap_rows, gaps_before
from semconv.data.store import UNKNOWN_DAY


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


def test_gaps_are_powers_of_two() -> None:
    later = np.array([10, 11, 13, 17, 10 + 4096, 10**7, 9, UNKNOWN_DAY])
    assert gap_rows(np.full(8, 10), later).tolist() == [1, 2, 3, 4, 13, GAP_ROWS - 1, 0, 0]
    assert gap_rows(np.array([UNKNOWN_DAY]), np.array([3])).tolist() == [0]


def test_the_first_event_of_a_user_has_no_gap() -> None:
    days, offsets = np.array([5, 5, 8, 100, 101]), np.array([0, 3, 3, 5])
    assert gaps_before(days, offsets).tolist() == [0, 1, 3, 0, 2]


def test_events_get_periods_and_gaps_and_without_periods_nothing() -> None:
    days, offsets = np.array([100, 103, 100 + PERIOD_DAYS, UNKNOWN_DAY]), np.array([0, 2, 4])
    periods, gaps = Calendar(100, 2).event_rows(days, offsets)
    assert (periods.tolist(), gaps.tolist()) == ([1, 1, 2, 0], [0, 3, 0, 0])
    assert [rows.tolist() for rows in Calendar(0, 0).event_rows(days, offsets)] == [[0] * 4, [0] * 4]


def test_a_moment_is_the_day_before_or_the_start_of_the_period() -> None:
    calendar, days = Calendar(100, 5), np.array([110, 250, 251, UNKNOWN_DAY, 260])
    drawn = [calendar.draw_moments(days, np.random.default_rng(seed)) for seed in range(20)]
    for before, _ in drawn:
        assert before.tolist() == [UNKNOWN_DAY, 110, 250, 251, UNKNOWN_DAY]
    found = [{int(moments[row]) for _, moments in drawn} for row in range(5)]
    assert found == [{UNKNOWN_DAY}, {110, 220}, {250}, {251}, {UNKNOWN_DAY}]


def test_a_pause_of_less_than_five_years_divides_nothing() -> None:
    assert Calendar.of(np.array([0, 5 * 365])).num_periods == 5 * 365 // PERIOD_DAYS + 1
    assert Calendar.of(np.array([0, 5 * 365 + 1, 5 * 365 + 2])) == Calendar(5 * 365 + 1, 1)
