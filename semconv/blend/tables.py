"""The arrays from which a blend computes the features of candidates: of all items, and of some users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.counter.scores import history_matrix, popularity_order
from semconv.data.store import UNKNOWN_TIME
from semconv.ragged import kept_offsets, offsets_of, row_of

_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class EventDays:
    """The days of each item's interactions in the train cut.

    Attributes:
        starts: ``(I + 1,)`` where the days of each item begin.
        days: ``(n,)`` days since 1970, ascending for each item; interactions without a time are left out.
    """

    starts: NDArray[np.int64]
    days: NDArray[np.int32]

    @classmethod
    def of(cls, items: NDArray[np.int32], times: NDArray[np.int64], num_items: int) -> EventDays:
        """Make the days from interactions ``(n,)`` and their times in microseconds since 1970."""
        known = times != UNKNOWN_TIME
        days = days_of(times[known]).astype(np.int32)
        order = np.lexsort((days, items[known]))
        return cls(offsets_of(np.bincount(items[known], minlength=num_items)), days[order])

    @cached_property
    def first(self) -> NDArray[np.float64]:
        """``(I,)`` first day of each item, NaN for an item without a day."""
        result = np.full(len(self.starts) - 1, np.nan)
        has = self.starts[1:] > self.starts[:-1]
        result[has] = self.days[self.starts[:-1][has]]
        return result

    @cached_property
    def _keys(self) -> NDArray[np.int64]:
        """Item and day as one number, ascending."""
        return row_of(np.diff(self.starts)) * _KEY + self.days

    def count(self, items: NDArray[np.int64], days: NDArray[np.float64], width: int) -> NDArray[np.float64]:
        """Return how many interactions each item had in the ``width`` days that end with a day, NaN for an unknown day.

        Later interactions do not count, so an evaluation knows no more than serving did on that day.

        Args:
            items, days: ``(n,)``.
        """
        at = np.where(np.isnan(days), 0, days).astype(np.int64)
        keys = items * _KEY + at
        found = np.searchsorted(self._keys, keys, "right") - np.searchsorted(self._keys, keys - width, "right")
        return np.where(np.isnan(days), np.nan, found)


_KEY = 1 << 24  # more days than any time has, so that the windows of two items never overlap


def days_of(times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the days since 1970 of times in microseconds, NaN where unknown."""
    return np.where(times == UNKNOWN_TIME, np.nan, np.floor(times / _DAY))


def unit_vectors(item_index: NDArray[Any], vectors: NDArray[Any], num_items: int) -> NDArray[np.float32]:
    """Return ``(I, D)`` vectors of length 1 by item_index; an item without a vector has a row of zeros.

    Args:
        item_index: ``(M,)``.
        vectors: ``(M, D)``.
        num_items: I.
    """
    table = np.zeros((num_items, vectors.shape[1]), dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    table[item_index] = vectors / np.where(norms > 0, norms, 1.0)
    return table


@dataclass(frozen=True)
class BlendTables:
    """The arrays that all users share.

    Attributes:
        counter: ``(I, I)`` of ``counter.counts.count_transitions``, None where the part is off.
        history_decay: weighs the items of a history by recency, for the counter and for the sums of vectors.
        vectors: name -> ``(I, D)`` of ``unit_vectors``.
        popularity: ``(I,)`` interactions of the train cut.
        events: the days of interactions, None where the part is off.
        with_popularity: whether popularity is a feature; it breaks ties in any case.
        proposing: the names of the ``vectors`` whose nearest items are candidates.
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
        """Number I of items that the tables know; later items have the features of the model alone."""
        return len(self.popularity)

    @cached_property
    def popularity_order(self) -> NDArray[np.int64]:
        """``(I,)`` position in the order of popularity, 0 for the most popular item; ties by item_index."""
        return popularity_order(self.popularity)


@dataclass(frozen=True)
class BlendUsers:
    """B users as a blend reads them.

    Attributes:
        items: ``(m,)`` the latest items of their histories, one user after the other, the oldest item of each first.
        lengths: ``(B,)`` number of items of each user.
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
        """Return the users from ``start`` to before ``stop``."""
        items = self.items[self._starts[start] : self._starts[min(stop, len(self))]]
        seen = None if self.seen is None else self.seen[start:stop]
        return BlendUsers(items, self.lengths[start:stop], self.days[start:stop], seen)

    def known(self, num_items: int) -> BlendUsers:
        """Return the same users, of whose histories the first ``num_items`` items of the catalogue are kept."""
        is_known = self.items < num_items
        if is_known.all():
            return self
        lengths = np.diff(kept_offsets(self._starts, is_known))
        return BlendUsers(self.items[is_known], lengths, self.days, self.seen)

    def matrix(self, num_items: int, decay: float) -> sp.csr_array:
        """Return ``(B, I)`` the histories, weighted by recency."""
        return history_matrix(self.items, self.lengths, num_items, decay)

    def latest_matrix(self, num_items: int) -> sp.csr_array:
        """Return ``(B, I)`` with 1 at each user's latest item."""
        has = self.lengths > 0
        last = self.items[self._starts[1:][has] - 1]
        return history_matrix(last, has.astype(np.int64), num_items, 0.0)
