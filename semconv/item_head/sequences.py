"""Training sequences as items with dates, and the windows of them that the decoder reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.data.calendar import Calendar
from semconv.data.store import day_numbers
from semconv.ragged import Ints, position_of, row_of


@dataclass(frozen=True)
class DatedSequences:
    """The interactions of U users, n in all, one user after the other, in the order of each user's sequence.

    Attributes:
        offsets: ``(U + 1,)`` first row of each user.
        items: ``(n,)`` item index.
        days: ``(n,)`` days since 1970, ``calendar.UNKNOWN_DAY`` where unknown.
        periods: ``(n,)`` row of the period of each interaction.
        gaps: ``(n,)`` row of the gap to the interaction before.
        weights: ``(n,)`` weight of each interaction; None: all weigh 1.
    """

    offsets: Ints
    items: NDArray[np.int32]
    days: Ints
    periods: Ints
    gaps: Ints
    weights: NDArray[np.float64] | None = None

    @property
    def lengths(self) -> Ints:
        """Number of interactions of each user, ``(U,)``."""
        return np.diff(self.offsets)

    @classmethod
    def of(
        cls,
        offsets: Ints,
        items: NDArray[np.int32],
        times: NDArray[np.int64],
        calendar: Calendar,
        weights: NDArray[np.float64] | None = None,
    ) -> DatedSequences:
        """Return sequences with the dates that a model of this calendar reads.

        Args:
            times: ``(n,)`` microseconds since 1970.
        """
        days = day_numbers(times)
        return cls(offsets, items, days, *calendar.event_rows(days, offsets), weights)


@dataclass(frozen=True)
class Windows:
    """Parts of sequences. The decoder reads all rows of a window but the last, and predicts the row after each.

    A window of a long sequence begins in the middle of it. There the decoder predicts only rows that have at least half
    of the history length before them, and the window before it predicts the others.

    Attributes:
        start: ``(W,)`` first row of each window.
        length: ``(W,)`` number of rows, at most the history length and one.
        first_label: ``(W,)`` first position in the window that is predicted.
    """

    start: Ints
    length: Ints
    first_label: Ints

    @classmethod
    def of(cls, offsets: Ints, history_length: int) -> Windows:
        """Cut all sequences of two or more rows into windows, so that every row but the first is predicted once."""
        lengths = np.diff(offsets)
        longest, half = history_length + 1, history_length // 2
        step = history_length - half
        counts = np.where(lengths > longest, 1 - (longest - lengths) // step, 1)
        counts[lengths < 2] = 0
        user, number = row_of(counts), position_of(counts)
        end = lengths[user] - number * step
        start = np.maximum(0, end - longest)
        return cls(offsets[user] + start, end - start, np.where(start > 0, half + 1, 1))

    def select(self, which: NDArray[np.integer] | NDArray[np.bool_]) -> Windows:
        """Return some of the windows, by a mask or an array of indices."""
        return Windows(self.start[which], self.length[which], self.first_label[which])

    def __len__(self) -> int:
        return len(self.start)
