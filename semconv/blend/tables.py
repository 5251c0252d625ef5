"""The arrays from which a blend computes features, with data of items (``BlendTables``) or users (``BlendUsers``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.blend.cells import VectorCells
from semconv.counter.scores import history_matrix, popularity_order
from semconv.counter.smoothed import SmoothedTables
from semconv.data.store import UNKNOWN_DAY, Sequences, day_numbers
from semconv.ragged import kept_offsets, offsets_of, row_of

TEXT: Final = "text"  # name of the text vectors among the tables of vectors


@dataclass(frozen=True)
class EventDays:
    """The days of each item's interactions in the train cut.

    Attributes:
        starts: ``(I + 1,)`` index in ``days`` of the first day of each item.
        days: ``(n,)`` days since 1970, ascending for each item; interactions without a time are left out.
        weights: ``(n,)`` weight of each interaction in millionths, so that sums are exact; None: all weigh 1.
    """

    starts: NDArray[np.int64]
    days: NDArray[np.int32]
    weights: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, data: Sequences, num_items: int) -> EventDays:
        """Return the days and weights of all interactions with a time.

        Args:
            data: interactions; the order of users and of their interactions does not matter.
            num_items: I.
        """
        days = day_numbers(data.times)
        known = np.flatnonzero(days != UNKNOWN_DAY)
        order = known[np.lexsort((days[known], data.items[known]))]
        weights = None if data.weights is None else np.rint(data.weights[order] * _MILLION).astype(np.int64)
        starts = offsets_of(np.bincount(data.items[known], minlength=num_items))
        return cls(starts, days[order].astype(np.int32), weights)

    @cached_property
    def first(self) -> NDArray[np.float64]:
        """First day ``(I,)`` on which each item has an interaction, NaN for an item without a known day."""
        result = np.full(len(self.starts) - 1, np.nan)
        has = self.starts[1:] > self.starts[:-1]
        result[has] = self.days[self.starts[:-1][has]]
        return result

    @cached_property
    def _keys(self) -> NDArray[np.int64]:
        """One number for each pair of item and day, ascending."""
        return row_of(np.diff(self.starts)) * _KEY + self.days

    @cached_property
    def _totals(self) -> NDArray[np.int64] | None:
        """Sum ``(n + 1,)`` of the weights before each interaction."""
        return None if self.weights is None else np.append(0, np.cumsum(self.weights))

    def count(self, items: NDArray[np.int64], days: NDArray[np.float64], width: int) -> NDArray[np.float64]:
        """Return the weight of each item's interactions in the ``width`` days up to a given day; NaN for an unknown day.

        Interactions after the given day do not count. So the count is the same as it was on the given day.

        Args:
            items, days: ``(n,)`` pairs of an item_index and the last day of the window.
        """
        at = np.where(np.isnan(days), 0, days).astype(np.int64)
        keys = items * _KEY + at
        first, end = (np.searchsorted(self._keys, day, "right") for day in (keys - width, keys))
        weight = end - first if self._totals is None else (self._totals[end] - self._totals[first]) / _MILLION
        return np.where(np.isnan(days), np.nan, weight)


_MILLION = 1_000_000
_KEY = 1 << 24  # larger than any day, so that the numbers of two items never overlap


def days_of(times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Convert times in microseconds since 1970 to days since 1970; the result is NaN where the time is unknown."""
    days = day_numbers(times)
    return np.where(days == UNKNOWN_DAY, np.nan, days)


def unit_vectors(item_index: NDArray[Any], vectors: NDArray[Any], num_items: int) -> NDArray[np.float32]:
    """Return vectors of length 1 ``(I, D)``, one row for each item_index; an item without a vector has zeros.

    Args:
        item_index: ``(M,)`` the items that have a vector.
        vectors: ``(M, D)`` their vectors, of any length.
        num_items: I.
    """
    table = np.zeros((num_items, vectors.shape[1]), dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    table[item_index] = vectors / np.where(norms > 0, norms, 1.0)
    return table


@dataclass(frozen=True)
class BlendTables:
    """The arrays of a blend that all users share.

    Attributes:
        counter: ``(I, I)`` table of ``counter.counts.count_transitions``; None if the counter is switched off.
        smoothed: tables of the smoothed counter and of two hops; None if they are switched off.
        history_decay: decay of the weight of history items by recency, for the counter and for the sums of vectors.
        vectors: tables ``(I, D)`` of ``unit_vectors``, by name.
        popularity: ``(I,)`` number of interactions of each item in the train cut, or the sum of their weights.
        events: the days of interactions; None if features of recent popularity are switched off.
        with_popularity: whether popularity is a feature; popularity decides between equal scores in any case.
        proposing: names of those ``vectors`` that propose the items nearest to a history.
    """

    counter: sp.csr_array | None
    history_decay: float
    vectors: Mapping[str, NDArray[np.float32]]
    popularity: NDArray[np.int64] | NDArray[np.float64]
    events: EventDays | None
    with_popularity: bool = True
    proposing: tuple[str, ...] = ()
    smoothed: SmoothedTables | None = None

    @property
    def num_items(self) -> int:
        """Number I of items when the tables were computed. Items added later have no features from these tables."""
        return len(self.popularity)

    @cached_property
    def cells(self) -> dict[str, VectorCells]:
        """The index in which the nearest items of each table that proposes are found."""
        return {name: VectorCells.of(self.vectors[name], self.popularity_order) for name in self.proposing}

    @cached_property
    def new_items(self) -> VectorCells:
        """The index of the text vectors of all items without interactions; it needs text vectors."""
        is_new = self.are_new(np.arange(self.num_items))
        return VectorCells.of(self.vectors[TEXT] * is_new[:, None], self.popularity_order)

    def are_new(self, items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether items ``(n,)`` have no interactions in the train cut. Items that were added later have none."""
        counts = np.append(self.popularity, 0)[np.minimum(items, self.num_items)]
        return np.asarray(counts == 0)

    @cached_property
    def popularity_order(self) -> NDArray[np.int64]:
        """Position ``(I,)`` of each item in the order of popularity, 0 for the most popular; ties by item_index."""
        return popularity_order(self.popularity)


@dataclass(frozen=True)
class BlendUsers:
    """The histories of B users, as a blend needs them.

    Attributes:
        items: ``(m,)`` the latest items of each history, one user after the other, the oldest item of each user first.
        lengths: ``(B,)`` number of items of each user.
        days: ``(B,)`` day of each user's latest interaction, in days since 1970, NaN where unknown.
        seen: B arrays of item_index to leave out of lists, or None to leave out nothing.
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
        """Return the users from index ``start`` up to, but without, index ``stop``."""
        items = self.items[self._starts[start] : self._starts[min(stop, len(self))]]
        seen = None if self.seen is None else self.seen[start:stop]
        return BlendUsers(items, self.lengths[start:stop], self.days[start:stop], seen)

    def known(self, num_items: int) -> BlendUsers:
        """Return the same users, with only those history items whose item_index is below ``num_items``."""
        is_known = self.items < num_items
        if is_known.all():
            return self
        lengths = np.diff(kept_offsets(self._starts, is_known))
        return BlendUsers(self.items[is_known], lengths, self.days, self.seen)

    def matrix(self, num_items: int, decay: float) -> sp.csr_array:
        """Return the recency weights of history items as a matrix ``(B, I)`` of users and items."""
        return history_matrix(self.items, self.lengths, num_items, decay)

    def latest_matrix(self, num_items: int) -> sp.csr_array:
        """Return a matrix ``(B, I)`` with a 1 at the latest item of each user."""
        has = self.lengths > 0
        last = self.items[self._starts[1:][has] - 1]
        return history_matrix(last, has.astype(np.int64), num_items, 0.0)
