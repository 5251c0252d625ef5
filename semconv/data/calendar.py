"""Dates as small numbers: the period of an event, the gap to the event before, and a grid of moments.

A model knows the periods of its training interactions only. An earlier or later day gets the nearest trained period.
Every table has a row 0 for an unknown day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from semconv.data.store import UNKNOWN_DAY
from semconv.ragged import Ints

PERIOD_DAYS: Final = 60
# So many days without interactions divide a log. The few events before such a hole have a wrong time, of a clock that began
# at 1970, say, and would add hundreds of empty periods and coarsen the grid of moments.
_HOLE_DAYS: Final = 5 * 365
GAP_ROWS: Final = 14  # unknown, the same day, and twelve powers of two


def gap_rows(earlier: Ints, later: Ints) -> Ints:
    """Return the row of the gap between two days: 0 if a day is unknown or the second is earlier, else log2 of the days.

    Args:
        earlier, later: days since 1970, of the same shape.
    """
    known = (earlier != UNKNOWN_DAY) & (later != UNKNOWN_DAY) & (later >= earlier)
    days = np.where(known, later, 0) - np.where(known, earlier, 0)
    rows = 1 + np.minimum(np.rint(np.log2(days + 1.0)), GAP_ROWS - 2).astype(np.int64)
    return np.where(known, rows, 0)


def gaps_before(days: Ints, offsets: Ints) -> Ints:
    """Return the row of the gap between each event and the event before it in the same sequence, ``(n,)``.

    Args:
        days: ``(n,)`` of the events of all users, one user after the other.
        offsets: ``(U + 1,)`` the first event of each user.
    """
    before = np.full(len(days), UNKNOWN_DAY)
    before[1:] = days[:-1]
    before[offsets[:-1][np.diff(offsets) > 0]] = UNKNOWN_DAY
    return gap_rows(before, days)


def main_days(days: Ints) -> tuple[int, int]:
    """Return the first and the last day of a log; if holes of five years divide it, of the part with most interactions.

    Args:
        days: ``(n,)`` of at least one interaction, all of them known.
    """
    known, counts = np.unique(days, return_counts=True)
    part = np.concatenate([[0], np.cumsum(np.diff(known) > _HOLE_DAYS)])  # of each of the different days
    known = known[part == np.bincount(part, weights=counts).argmax()]
    return int(known[0]), int(known[-1])


@dataclass(frozen=True)
class Calendar:
    """The periods between the first and the last training interaction, less wrong times (``main_days``).

    Attributes:
        first_day: first day of the first period, in days since 1970.
        num_periods: number of periods; 0 if no training interaction has a time.
    """

    first_day: int
    num_periods: int

    @classmethod
    def of(cls, days: Ints) -> Calendar:
        """Return the calendar of the days ``(n,)`` of training interactions, from the first to the last of ``main_days``."""
        known = days[days != UNKNOWN_DAY]
        if len(known) == 0:
            return cls(0, 0)
        first, last = main_days(known)
        return cls(first, (last - first) // PERIOD_DAYS + 1)

    def period_rows(self, days: Ints) -> Ints:
        """Return the row of each day's period: 0 for an unknown day, else 1 to ``num_periods``."""
        known = (days != UNKNOWN_DAY) & (self.num_periods > 0)
        period = (np.where(known, days, self.first_day) - self.first_day) // PERIOD_DAYS
        return np.where(known, 1 + np.clip(period, 0, max(self.num_periods - 1, 0)), 0)

    def event_rows(self, days: Ints, offsets: Ints) -> tuple[Ints, Ints]:
        """Return the rows of the period and of the gap of each event, ``(n,)`` each; zeros without periods.

        Args:
            days: ``(n,)`` of the events of all users, one user after the other.
            offsets: ``(U + 1,)`` the first event of each user.
        """
        if self.num_periods == 0:
            unknown = np.zeros(len(days), dtype=np.int64)
            return unknown, unknown
        return self.period_rows(days), gaps_before(days, offsets)

    def draw_moments(self, days: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Draw the day on which each event is predicted: one of the two days of ``moments``, each with probability 1/2.

        The first event of a user has no meaningful moment, because no model predicts it.

        Args:
            days: ``(n,)`` of the events of all users, one user after the other.

        Returns:
            the day of the event before ``(n,)``, and the drawn day ``(n,)``.
        """
        before, start = self.moments(days)
        return before, np.where(rng.random(len(before)) < 0.5, start, before)

    def moments(self, days: Ints) -> tuple[Ints, Ints]:
        """Return the two days on which an event may be predicted: of the event before, and of the start of its period.

        A nightly run knows its own date but not the date of the next event, so the model never reads the day of the event
        itself. The second day is never earlier than the first, and equal to it if one of the events has no time.

        Args:
            days: ``(n,)`` of the events of all users, one user after the other.
        """
        before = np.full(len(days), UNKNOWN_DAY)
        before[1:] = days[:-1]
        are_known = (days != UNKNOWN_DAY) & (before != UNKNOWN_DAY)
        return before, np.where(are_known, np.maximum(self.period_starts(days), before), before)

    def period_starts(self, days: Ints) -> Ints:
        """Return the first day of the period of each day; ``UNKNOWN_DAY`` stays unknown."""
        known = days != UNKNOWN_DAY
        start = self.first_day + (np.where(known, days, self.first_day) - self.first_day) // PERIOD_DAYS * PERIOD_DAYS
        return np.where(known, start, UNKNOWN_DAY)
