"""What a blend knows of items and of users: the arrays from which the features of candidates are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.counter.transitions import history_matrix
from semconv.ragged import kept_offsets, offsets_of, row_of

_DAY = 86_400_000_000  # microseconds
_UNKNOWN = np.iinfo(np.int64).min


@dataclass(frozen=True)
class EventDays:
    """On which days each item was taken in the train cut, the days of an item ascending.

    Attributes:
        starts: ``(I + 1,)`` where each item's days begin.
        days: ``(n,)`` since 1970; interactions without a time are not there.
    """

    starts: NDArray[np.int64]
    days: NDArray[np.int32]

    @classmethod
    def of(cls, items: NDArray[np.int32], times: NDArray[np.int64], num_items: int) -> EventDays:
        """From interactions ``(n,)`` and their times in microseconds."""
        known = times != _UNKNOWN
        days = days_of(times[known]).astype(np.int32)
        order = np.lexsort((days, items[known]))
        return cls(offsets_of(np.bincount(items[known], minlength=num_items)), days[order])

    @cached_property
    def first(self) -> NDArray[np.float64]:
        """``(I,)`` first day of each item, NaN for one without any."""
        return self._at(self.starts[:-1])

    @cached_property
    def _keys(self) -> NDArray[np.int64]:
        """Item and day as one number, ascending."""
        return row_of(np.diff(self.starts)) * _KEY + self.days

    def count(self, items: NDArray[np.int64], days: NDArray[np.float64], width: int) -> NDArray[np.float64]:
        """``(n,)`` interactions of items in the ``width`` days that end with a day, NaN where the day is unknown.

        Nothing after the day counts: whoever asks on it knows no more, in an evaluation as in serving.
        """
        at = np.where(np.isnan(days), 0, days).astype(np.int64)
        keys = items * _KEY + at
        found = np.searchsorted(self._keys, keys, "right") - np.searchsorted(self._keys, keys - width, "right")
        return np.where(np.isnan(days), np.nan, found)

    def _at(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        result = np.full(len(places), np.nan)
        has = self.starts[1:] > self.starts[:-1]
        result[has] = self.days[places[has]]
        return result


_KEY = 1 << 24  # more days than any time has, so that windows of two items never meet


def days_of(times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days since 1970 of times in microseconds, NaN where unknown."""
    return np.where(times == _UNKNOWN, np.nan, np.floor(times / _DAY))


@dataclass(frozen=True)
class BlendTables:
    """What is the same for all users.

    Attributes:
        counter: ``(I, I)`` of ``transitions.count_transitions``, None where the part is off.
        history_decay: of the counter, and of the histories that vectors are summed over.
        vectors: name -> ``(I, D)`` unit vectors of items (``reasons.vector_table``); zero rows where there is none.
        popularity: ``(I,)`` interactions of the train cut.
        events: when items were taken, None where the part is off.
        with_popularity: whether popularity is a feature; it breaks ties all the same.
        proposing: names of the ``vectors`` whose nearest items are candidates.
    """

    counter: sp.csr_array | None
    history_decay: float
    vectors: Mapping[str, NDArray[np.float32]]
    popularity: NDArray[np.int64]
    events: EventDays | None
    with_popularity: bool = True
    proposing: tuple[str, ...] = ()

    @property
    def num_items(self) -> int:
        """I, items that the tables know; later ones have no feature but the model's."""
        return len(self.popularity)

    @cached_property
    def popularity_rank(self) -> NDArray[np.int64]:
        """``(I,)`` 0 for the most popular, ties by item_index."""
        rank = np.empty(self.num_items, dtype=np.int64)
        rank[np.lexsort((np.arange(self.num_items), -self.popularity))] = np.arange(self.num_items)
        return rank


@dataclass(frozen=True)
class BlendUsers:
    """What a blend reads of B users.

    Attributes:
        items: ``(m,)`` the latest items of their histories, oldest first, one user after the other.
        lengths: ``(B,)`` how many each has.
        days: ``(B,)`` day of each user's latest interaction, NaN where unknown.
        seen: B arrays of item_index to leave out, or None to keep all.
    """

    items: NDArray[np.int32]
    lengths: NDArray[np.int64]
    days: NDArray[np.float64]
    seen: Sequence[NDArray[np.int32]] | None

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return offsets_of(self.lengths)

    def part(self, start: int, stop: int) -> BlendUsers:
        """Some users in their order."""
        items = self.items[self._starts[start] : self._starts[min(stop, len(self))]]
        seen = None if self.seen is None else self.seen[start:stop]
        return BlendUsers(items, self.lengths[start:stop], self.days[start:stop], seen)

    def known(self, num_items: int) -> BlendUsers:
        """The same users with the items that tables of ``num_items`` know."""
        is_known = self.items < num_items
        if is_known.all():
            return self
        lengths = np.diff(kept_offsets(self._starts, is_known))
        return BlendUsers(self.items[is_known], lengths, self.days, self.seen)

    def matrix(self, num_items: int, decay: float) -> sp.csr_array:
        """``(B, I)`` histories, weighted by recency."""
        return history_matrix(self.items, self.lengths, num_items, decay)

    def last_matrix(self, num_items: int) -> sp.csr_array:
        """``(B, I)`` 1 at each user's latest item."""
        has = self.lengths > 0
        last = self.items[self._starts[1:][has] - 1]
        return history_matrix(last, has.astype(np.int64), num_items, 0.0)
