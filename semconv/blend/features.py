"""Candidates that a blend's parts propose, and the features of any candidate, for one block of users."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.blend.tables import BlendTables, BlendUsers
from semconv.columns import SOURCE_NEIGHBOR, SOURCE_TRANSITION
from semconv.ragged import lengths_of, row_of

# Added to the counter's score under the logarithm: about that of one pair far apart in a long history.
COUNTER_FLOOR = 0.01
FLAT_DECAY = 0.3  # of the second sum over a history, in which early items count almost like late ones
_DIGITS = 9  # scores are rounded as in SQL: the order of a sum must not break ties
WINDOWS = (7, 30, 90, 365)  # days, the last of them that of a user's latest interaction
# Numbers of vectors that are gathered at once.
_GATHERED = 1 << 22


def feature_names(tables: BlendTables) -> tuple[str, ...]:
    """Names of the columns of ``BlockScores.features``, those of parts that are off left out."""
    names = ["transition", "transition of the latest item"] if tables.counter is not None else []
    for name in tables.vectors:
        names += [f"{name} of the history", f"{name} of the whole history", f"{name} of the latest item"]
    if tables.with_popularity:
        names.append("popularity")
    if tables.events is not None:
        names += [*(f"popularity within {days} days" for days in WINDOWS), "age"]
    return tuple(names)


class BlockScores:
    """Scores of every item for a block of users, kept where they are sparse.

    Args:
        tables: of the blend.
        users: B of them, few enough for ``(B, I)`` numbers.
    """

    def __init__(self, tables: BlendTables, users: BlendUsers) -> None:
        self._tables, self._users = tables, users.known(tables.num_items)
        self._history = self._users.matrix(tables.num_items, tables.history_decay)
        self._flat = self._users.matrix(tables.num_items, FLAT_DECAY)
        self._latest = self._users.last_matrix(tables.num_items)

    @cached_property
    def counter(self) -> sp.csr_array:
        """``(B, I)`` the counter's scores, those of nothing left out."""
        return _sorted(self._history @ self._tables.counter)

    @cached_property
    def _counter_of_latest(self) -> sp.csr_array:
        return _sorted(self._latest @ self._tables.counter)

    @cached_property
    def _sums(self) -> dict[str, tuple[NDArray[np.float32], ...]]:
        """Name of the vectors -> ``(B, D)`` sums over the history, over the history almost unweighted, the latest item."""
        return {
            name: tuple(
                np.asarray(rows @ table, dtype=np.float32) for rows in (self._history, self._flat, self._latest)
            )
            for name, table in self._tables.vectors.items()
        }

    def proposals(
        self, count: int, allowed: NDArray[np.bool_]
    ) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Source -> users and items ``(n,)`` that it proposes, best first, ``count`` a user and table at most.

        Left out are what is not ``allowed`` ``(I,)``, what a user has seen, and what the counter never saw follow.
        """
        allowed = allowed[: self._tables.num_items]
        found: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        if self._tables.counter is not None:
            found[SOURCE_TRANSITION] = self._best_counted(count, allowed)
        near = [self._nearest(name, count, allowed) for name in self._tables.proposing]
        if near:
            users, items = (np.concatenate(part) for part in zip(*near, strict=True))
            found[SOURCE_NEIGHBOR] = users, items
        return found

    def counter_scores(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float64]:
        """``(n,)`` the counter's scores of pairs of a row of the block and an item, rounded as it ranks them."""
        return entries(self.counter, users, items).round(_DIGITS)

    def features(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float32]:
        """``(n, F)`` of pairs of a row of the block and an item; NaN where a feature is unknown.

        Args:
            users: ``(n,)`` rows of the block.
            items: ``(n,)`` item_index; one that the tables do not know has unknown features.
        """
        is_known = items < self._tables.num_items
        columns = self._columns(users[is_known], items[is_known])
        result = np.full((len(items), len(columns)), np.nan, dtype=np.float32)
        for place, column in enumerate(columns):
            result[is_known, place] = column
        return result

    def _columns(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> list[NDArray[np.floating]]:
        tables = self._tables
        columns: list[NDArray[np.floating]] = []
        if tables.counter is not None:
            columns += [
                np.log(entries(scores, users, items) + COUNTER_FLOOR)
                for scores in (self.counter, self._counter_of_latest)
            ]
        for name, table in tables.vectors.items():
            columns += _dots(self._sums[name], table, users, items)
        if tables.with_popularity:
            columns.append(np.log1p(tables.popularity[items]))
        return columns + self._recency(users, items)

    def _recency(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> list[NDArray[np.floating]]:
        events = self._tables.events
        if events is None:
            return []
        days = self._users.days[users]
        near = [np.log1p(events.count(items, days, width)) for width in WINDOWS]
        age = days - events.first[items]
        age[age < 0] = np.nan  # on that day nobody had taken it
        return [*near, np.log1p(age)]

    def _best_counted(self, count: int, allowed: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rank, scores = self._tables.popularity_rank, self.counter
        kept: list[NDArray[np.int64]] = []
        for row in range(len(self._users)):
            start, end = scores.indptr[row], scores.indptr[row + 1]
            items = scores.indices[start:end].astype(np.int64)
            values = np.where(allowed[items], scores.data[start:end].round(_DIGITS), 0.0)
            if self._users.seen is not None:
                values[np.isin(items, self._users.seen[row])] = 0.0
            kept.append(_top(items, values, count, rank))
        return _flat(kept)

    def _nearest(
        self, name: str, count: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rank = self._tables.popularity_rank
        scores = self._sums[name][0] @ self._tables.vectors[name].T  # (B, I)
        scores[:, ~allowed] = -np.inf
        kept: list[NDArray[np.int64]] = []
        everything = np.arange(self._tables.num_items)
        for row, values in enumerate(scores):
            if self._users.seen is not None:
                seen = self._users.seen[row]
                values[seen[seen < len(values)]] = -np.inf
            kept.append(_top(everything, values, count, rank))
        return _flat(kept)


def _dots(
    sums: tuple[NDArray[np.float32], ...],
    table: NDArray[np.float32],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
) -> list[NDArray[np.floating]]:
    """Products ``(n,)`` of each of the sums ``(B, D)`` with the items' vectors."""
    result = np.empty((len(sums), len(items)), dtype=np.float32)
    step = max(1, _GATHERED // table.shape[1])
    for start in range(0, len(items), step):
        rows = slice(start, start + step)
        own = table[items[rows]]
        for place, total in enumerate(sums):
            result[place, rows] = np.einsum("nd,nd->n", total[users[rows]], own)
    return list(result)


def _top(
    items: NDArray[np.int64], values: NDArray[np.floating], count: int, rank: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The ``count`` items with the largest values, those above 0 alone; of equal ones the most popular first."""
    if len(values) > count:
        border = np.partition(values, len(values) - count)[len(values) - count]
        inside = np.flatnonzero((values >= border) & (values > 0))
    else:
        inside = np.flatnonzero(values > 0)
    items, values = items[inside], values[inside]
    return items[np.lexsort((rank[items], -values))[:count]]


def _flat(kept: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return row_of(lengths_of(kept)), np.concatenate([np.zeros(0, dtype=np.int64), *kept])


def _sorted(matrix: sp.csr_array) -> sp.csr_array:
    matrix = sp.csr_array(matrix)
    matrix.sort_indices()
    return matrix


def entries(matrix: sp.csr_array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Entries of a matrix whose columns ascend in each row, 0 where there is none; all searched for at once."""
    low, end = matrix.indptr[rows].astype(np.int64), matrix.indptr[rows + 1].astype(np.int64)
    high = end.copy()
    for _ in range(int((end - low).max(initial=0)).bit_length()):
        middle = (low + high) // 2
        is_open = low < high
        is_before = is_open & (matrix.indices[np.where(is_open, middle, 0)] < columns)
        low = np.where(is_before, middle + 1, low)
        high = np.where(is_open & ~is_before, middle, high)
    found = low < end
    found[found] = matrix.indices[low[found]] == columns[found]
    result = np.zeros(len(rows))
    result[found] = matrix.data[low[found]]
    return result
