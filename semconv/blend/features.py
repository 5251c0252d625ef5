"""Propose items and compute features of candidates for one block of users. These features need no model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.blend.cells import VectorCells
from semconv.blend.tables import TEXT, BlendTables, BlendUsers
from semconv.columns import SOURCE_NEIGHBOR, SOURCE_TRANSITION
from semconv.counter.scores import DECIMALS, entries, sorted_rows
from semconv.ragged import lengths_of, row_of

# Added to the counter's score before the logarithm: about the score of one distant pair in a long history.
COUNTER_FLOOR = 0.01
FLAT_DECAY = 0.3  # decay of the sum over the whole history: early items count almost as much as late ones
SMOOTHED = ("smoothed transition", "smoothed transition of the latest item", "two hops")
WINDOWS = (7, 30, 90, 365)  # lengths in days of windows that end on the day of a user's latest interaction
# The text of the history once more, for items without interactions only: text weighs more where the counters have nothing.
TEXT_OF_NEW = "text of the history of an item without interactions"
# Number of elements of item vectors that are gathered at once.
_GATHERED = 1 << 22


def feature_names(tables: BlendTables) -> tuple[str, ...]:
    """Return the names of the columns of ``BlockScores.features``; a part that is switched off has no columns."""
    names = ["transition", "transition of the latest item"] if tables.counter is not None else []
    if tables.smoothed is not None:
        names += list(SMOOTHED)
        if TEXT in tables.vectors:
            names += [f"{name} times text" for name in SMOOTHED]
    for name in tables.vectors:
        names += vector_features(name)
    if TEXT in tables.vectors:
        names.append(TEXT_OF_NEW)
    if tables.with_popularity:
        names += ["popularity", "no interactions"]
    if tables.events is not None:
        names += [*(f"popularity within {days} days" for days in WINDOWS), "age"]
    return tuple(names)


def vector_features(name: str) -> tuple[str, str, str]:
    """Return the names of the features of a table of item vectors, in the order of the sums of a user's vectors."""
    return f"{name} of the history", f"{name} of the whole history", f"{name} of the latest item"


class BlockScores:
    """Computes proposals and features for a block of B users.

    Args:
        tables: the arrays that all users share.
        users: the users of the block.
    """

    def __init__(self, tables: BlendTables, users: BlendUsers) -> None:
        self._tables, self._users = tables, users.known(tables.num_items)
        self._history = self._users.matrix(tables.num_items, tables.history_decay)
        self._flat = self._users.matrix(tables.num_items, FLAT_DECAY)
        self._latest = self._users.latest_matrix(tables.num_items)

    @cached_property
    def counter(self) -> sp.csr_array:
        """The transition counter's scores ``(B, I)`` of all items, including the items that a user has seen."""
        return sorted_rows(self._history @ self._tables.counter)

    @cached_property
    def _counter_of_latest(self) -> sp.csr_array:
        return sorted_rows(self._latest @ self._tables.counter)

    @cached_property
    def _smoothed(self) -> tuple[sp.csr_array, sp.csr_array, sp.csr_array]:
        """The scores ``(B, I)`` of the features ``SMOOTHED``."""
        tables, users = self._tables.smoothed, self._users
        if tables is None:
            raise ValueError("the smoothed counter is switched off")
        latest = sorted_rows(self._latest @ tables.lifts)
        return tables.smoothed(users.items, users.lengths), latest, tables.two_hops(users.items, users.lengths)

    @cached_property
    def _sums(self) -> dict[str, tuple[NDArray[np.float32], ...]]:
        """Three vectors ``(B, D)`` of each user for each table of item vectors, in the order of the features.

        The three vectors are the sum over the history weighted by recency, the sum with almost equal weights, and the
        vector of the latest item.
        """
        return {
            name: tuple(
                np.asarray(rows @ table, dtype=np.float32) for rows in (self._history, self._flat, self._latest)
            )
            for name, table in self._tables.vectors.items()
        }

    def proposals(
        self, count: int, allowed: NDArray[np.bool_]
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Return the users and items ``(n,)`` that each source proposes, with at most ``count`` items for each user.

        A score is the counter's score, or the weighted sum of cosines to the history. Only items with a score above 0
        are proposed. Seen items are left out.

        Args:
            allowed: ``(I,)`` whether each item may be listed.
        """
        allowed = allowed[: self._tables.num_items]
        found: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        if self._tables.counter is not None:
            found[SOURCE_TRANSITION] = self._best_counted(self.counter, count, allowed)
        if self._tables.smoothed is not None:
            hops = self._best_counted(self._smoothed[-1], count, allowed)
            found[SOURCE_TRANSITION] = _joined([*found.values(), hops])
        near = [self._nearest(self._tables.cells[name], name, count, allowed) for name in self._tables.proposing]
        if TEXT in self._tables.vectors:  # the only table that can find an item without interactions
            near.append(self._nearest(self._tables.new_items, TEXT, count, allowed))
        if near:
            found[SOURCE_NEIGHBOR] = _joined(near)
        return found

    def counter_scores(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the counter's rounded scores ``(n,)`` of pairs of a user of the block and an item."""
        return entries(self.counter, users, items).round(DECIMALS)

    def features(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the features ``(n, F)`` of pairs of a user and an item, NaN where unknown.

        Args:
            users: ``(n,)`` index of the user in the block.
            items: ``(n,)`` item_index; for items that were added after the tables were computed, all are NaN.
        """
        is_known = items < self._tables.num_items
        columns = self._columns(users[is_known], items[is_known])
        result = np.full((len(items), len(columns)), np.nan, dtype=np.float32)
        for feature, column in enumerate(columns):
            result[is_known, feature] = column
        return result

    def _columns(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> list[NDArray[np.floating]]:
        tables = self._tables
        columns: list[NDArray[np.floating]] = []
        if tables.counter is not None:
            columns += [
                np.log(entries(scores, users, items) + COUNTER_FLOOR)
                for scores in (self.counter, self._counter_of_latest)
            ]
        cosines = {name: _dots(self._sums[name], table, users, items) for name, table in tables.vectors.items()}
        if tables.smoothed is not None:
            counted = [entries(scores, users, items) for scores in self._smoothed]
            columns += counted
            if TEXT in cosines:
                of_latest = cosines[TEXT][-1]
                columns += [scores * of_latest for scores in counted]
        for dots in cosines.values():
            columns += dots
        if TEXT in cosines:
            columns.append(np.where(tables.are_new(items), cosines[TEXT][0], np.nan))
        if tables.with_popularity:
            popularity = tables.popularity[items]
            columns += [np.log1p(popularity), (popularity == 0).astype(np.float32)]
        return columns + self._recency(users, items)

    def _recency(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> list[NDArray[np.floating]]:
        events = self._tables.events
        if events is None:
            return []
        days = self._users.days[users]
        near = [np.log1p(events.count(items, days, width)) for width in WINDOWS]
        age = days - events.first[items]
        age[age < 0] = np.nan  # an item's age is unknown before the item's first interaction
        return [*near, np.log1p(age)]

    def _best_counted(
        self, scores: sp.csr_array, count: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        ties = self._tables.popularity_order
        kept: list[NDArray[np.int64]] = []
        for row in range(len(self._users)):
            start, end = scores.indptr[row], scores.indptr[row + 1]
            items = scores.indices[start:end].astype(np.int64)
            values = np.where(allowed[items], scores.data[start:end].round(DECIMALS), 0.0)
            if self._users.seen is not None:
                values[np.isin(items, self._users.seen[row])] = 0.0
            kept.append(_top(items, values, count, ties))
        return _pairs(kept)

    def _nearest(
        self, cells: VectorCells, name: str, count: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return cells.nearest(self._sums[name][0], count, allowed, self._users.seen)


def _dots(
    sums: tuple[NDArray[np.float32], ...],
    table: NDArray[np.float32],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
) -> list[NDArray[np.floating]]:
    """Return dot products ``(n,)`` for n pairs of a user and an item, once for each array of ``sums`` ``(B, D)``."""
    result = np.empty((len(sums), len(items)), dtype=np.float32)
    step = max(1, _GATHERED // table.shape[1])
    for start in range(0, len(items), step):
        rows = slice(start, start + step)
        own = table[items[rows]]
        for row, total in enumerate(sums):
            result[row, rows] = np.einsum("nd,nd->n", total[users[rows]], own)
    return list(result)


def _top(
    items: NDArray[np.int64], values: NDArray[np.floating], count: int, ties: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the ``count`` items with the largest values above 0. Of equal values the more popular item comes first."""
    if len(values) > count:
        border = np.partition(values, len(values) - count)[len(values) - count]
        inside = np.flatnonzero((values >= border) & (values > 0))
    else:
        inside = np.flatnonzero(values > 0)
    items, values = items[inside], values[inside]
    return items[np.lexsort((ties[items], -values))[:count]]


def _pairs(kept: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Convert arrays of items, one for each user, to pairs of a user and an item, ``(n,)`` each."""
    return row_of(lengths_of(kept)), np.concatenate([np.zeros(0, dtype=np.int64), *kept])


def _joined(
    pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    users, items = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return users, items
