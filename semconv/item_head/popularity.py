"""How popular each item is at a moment: its interactions in the days before, and whether it has none yet.

A model weighs these numbers by its hidden state. They let it follow what sells now, and find items that nobody has taken
yet. Only interactions before the moment are counted, so a number is what a night at that moment would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semconv.data.calendar import main_days
from semconv.data.store import UNKNOWN_DAY
from semconv.ragged import Ints

NUM_FEATURES: Final = 4  # log counts of the last 60 days, of the 180 days before, of all earlier days; 1 without any
_RECENT_DAYS, _MIDDLE_DAYS = 60, 240
_LARGEST_TABLE = 64_000_000  # numbers; a larger catalogue gets moments that are further apart
_STEP_DAYS = 30


@dataclass(frozen=True)
class ItemEvents:
    """The interactions that are counted, in the order of their days.

    Attributes:
        days: ``(n,)`` days since 1970, ascending, all known.
        items: ``(n,)`` item index.
        num_items: number I of items.
        weights: ``(n,)`` weight of each interaction; None: all weigh 1.
    """

    days: Ints
    items: NDArray[np.int32]
    num_items: int
    weights: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls, days: Ints, items: NDArray[np.int32], num_items: int, weights: NDArray[np.float64] | None = None
    ) -> ItemEvents:
        """Return the interactions with a known day, sorted by day."""
        known = np.flatnonzero(days != UNKNOWN_DAY)
        order = known[np.argsort(days[known], kind="stable")]
        return cls(days[order], items[order], num_items, None if weights is None else weights[order])

    def __len__(self) -> int:
        return len(self.days)

    @cached_property
    def grid(self) -> MomentTable:
        """The numbers on the grid of days. Counted once: the table of a large catalogue takes hundreds of megabytes."""
        return MomentTable.on_grid(self)

    def features(self, day: int) -> NDArray[np.float32]:
        """Return the numbers ``(4, I)`` of every item on the morning of a day, from the interactions before it."""
        ends = np.searchsorted(self.days, [day - _MIDDLE_DAYS, day - _RECENT_DAYS, day])
        earlier, middle, recent = (
            np.bincount(
                self.items[start:end], None if self.weights is None else self.weights[start:end], self.num_items
            )
            for start, end in zip([0, *ends[:-1]], ends, strict=True)
        )
        return np.stack([np.log1p(recent), np.log1p(middle), np.log1p(earlier), earlier + middle + recent == 0]).astype(
            np.float32
        )


@dataclass(frozen=True)
class MomentTable:
    """The numbers of every item at M moments, and at an unknown moment.

    Attributes:
        days: ``(M,)`` day of each moment, ascending.
        features: ``(M + 1, 4, I)``; the last entry is 0 everywhere and stands for an unknown moment.
    """

    days: Ints
    features: NDArray[np.float32]

    @classmethod
    def at(cls, events: ItemEvents, days: Ints) -> MomentTable:
        """Return the numbers at the given days ``(M,)``, which must be ascending."""
        features = np.zeros((len(days) + 1, NUM_FEATURES, events.num_items), dtype=np.float32)
        for row, day in enumerate(days.tolist()):
            features[row] = events.features(day)
        return cls(days, features)

    @classmethod
    def on_grid(cls, events: ItemEvents) -> MomentTable:
        """Return the numbers every 30 days between the first and the last of ``main_days``, or less often for memory."""
        if len(events.days) == 0:
            return cls.at(events, np.zeros(0, dtype=np.int64))
        first, last = main_days(events.days)
        most = max(2, _LARGEST_TABLE // (NUM_FEATURES * max(1, events.num_items)))
        step = max(_STEP_DAYS, -(-(last + 1 - first) // (most - 1)))
        return cls.at(events, np.append(np.arange(first, last + 1, step), last + 1))

    def rows(self, days: Ints) -> Ints:
        """Return for each day the row of the latest moment that is not after it; the unknown moment if there is none."""
        found = np.searchsorted(self.days, days, side="right") - 1
        return np.where((days == UNKNOWN_DAY) | (found < 0), len(self.days), found)
