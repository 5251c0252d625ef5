"""Find the items whose vectors are nearest to a user's, without scoring all items.

Items with similar vectors form a cell, by k-means. A search scores only the items of the cells whose centres are nearest
to the user, so its cost does not grow with the catalogue. A catalogue that fits into the searched cells is searched
completely. This is an inverted file index (Jégou et al., 2011, "Product quantization for nearest neighbor search").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import find, lengths_of, position_among_equal, row_of, slices
from semconv.tokenization.kmeans import nearest, sample_rows, squared_norms, sums_by_code

CELL_ITEMS: Final = 128  # mean number of items in a cell
SEARCHED_CELLS: Final = 64
_LARGEST_CELL: Final = 2 * CELL_ITEMS
_ROUNDS: Final = 8  # of k-means
_SAMPLE_PER_CELL: Final = 64  # items per cell that k-means looks at
_USERS_AT_ONCE: Final = 512
_SEED: Final = 0

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class VectorCells:
    """The items that have a vector, sorted by cell.

    Attributes:
        centers: ``(C, D)`` mean vector of each cell.
        starts: ``(C + 1,)`` index of the first item of each cell in ``items``.
        items: ``(M,)`` item_index; the most popular items of a cell come first.
        vectors: ``(M, D)`` their vectors.
        order: ``(I,)`` position of each item in the order of popularity, which decides between equal scores.
    """

    centers: NDArray[np.float32]
    starts: NDArray[np.int64]
    items: NDArray[np.int64]
    vectors: NDArray[np.float32]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, table: NDArray[np.float32], order: NDArray[np.int64]) -> VectorCells:
        """Group the items of a table ``(I, D)`` of unit vectors; items whose vector is 0 are left out.

        Args:
            order: ``(I,)`` position of each item in the order of popularity.
        """
        items = np.flatnonzero(table.any(axis=1))
        cells = _cells(table[items])
        by_cell = np.lexsort((order[items], cells))
        items, cells = items[by_cell], cells[by_cell]
        # A cell of many equal vectors is cut into parts. Each part is searched as a cell of its own.
        part = position_among_equal(cells) // _LARGEST_CELL
        is_first = np.ones(len(items), dtype=bool)
        is_first[1:] = (cells[1:] != cells[:-1]) | (part[1:] != part[:-1])
        starts = np.append(np.flatnonzero(is_first), len(items))
        vectors = np.ascontiguousarray(table[items])
        sums = np.add.reduceat(vectors, starts[:-1]) if len(items) else vectors
        means: NDArray[np.float32] = (sums / np.diff(starts)[:, None]).astype(np.float32)
        return cls(means, starts, items, vectors, order)

    def nearest(
        self,
        profiles: NDArray[np.float32],
        count: int,
        allowed: NDArray[np.bool_],
        seen: Sequence[NDArray[Any]] | None,
    ) -> Pairs:
        """Return the pairs ``(n,)`` of a user and one of the ``count`` nearest items, user by user and nearest first.

        Only items whose dot product with the user's vector is above 0 are returned.

        Args:
            profiles: ``(B, D)`` vectors of the users, of any length.
            allowed: ``(I,)`` whether each item may be listed.
            seen: B arrays of item_index to leave out, or None.
        """
        parts = [
            self._nearest(profiles[users], count, allowed, None if seen is None else seen[users])
            for users in slices(len(profiles), _USERS_AT_ONCE)
        ]
        users = [part[0] + start for part, start in zip(parts, range(0, len(profiles), _USERS_AT_ONCE), strict=True)]
        none = np.zeros(0, dtype=np.int64)
        return np.concatenate([none, *users]), np.concatenate([none, *(part[1] for part in parts)])

    def _nearest(
        self,
        profiles: NDArray[np.float32],
        count: int,
        allowed: NDArray[np.bool_],
        seen: Sequence[NDArray[Any]] | None,
    ) -> Pairs:
        searched = min(SEARCHED_CELLS, len(self.centers))
        if searched == 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        near = profiles @ self.centers.T  # (B, C)
        cells = np.argpartition(-near, searched - 1, axis=1)[:, :searched]  # (B, P)
        scores = self._scores(profiles, cells, allowed)  # (B, P, S)
        longest = 0 if seen is None else int(lengths_of(seen).max(initial=0))
        users, entry = _largest(scores.reshape(len(profiles), -1), count + longest)
        values = scores.reshape(len(profiles), -1)[users, entry]
        column, within = np.divmod(entry, scores.shape[2])
        items = self.items[self.starts[cells[users, column]] + within]
        if seen is not None:
            size = len(self.order)
            owners, own = row_of(lengths_of(seen)), np.concatenate(seen).astype(np.int64)
            keys = np.sort((owners * size + own)[own < size])  # an item that is new to the index is never found
            left = ~find(keys, users * size + items)[1]
            users, items, values = users[left], items[left], values[left]
        best = np.lexsort((self.order[items], -values, users))
        best = best[position_among_equal(users[best]) < count]
        return users[best], items[best]

    def _scores(
        self, profiles: NDArray[np.float32], cells: NDArray[np.int64], allowed: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the dot products ``(B, P, S)`` with the items of P cells, -inf for padding and items not allowed."""
        sizes = np.diff(self.starts)
        result = np.full((*cells.shape, int(sizes.max())), -np.inf, dtype=np.float32)
        order = np.argsort(cells, axis=None, kind="stable")
        users, columns = np.divmod(order, cells.shape[1])
        found, firsts = np.unique(cells.ravel()[order], return_index=True)
        for cell, low, high in zip(found.tolist(), firsts.tolist(), [*firsts[1:].tolist(), len(order)], strict=True):
            start, stop = self.starts[cell], self.starts[cell + 1]
            block = profiles[users[low:high]] @ self.vectors[start:stop].T  # (u, s)
            block[:, ~allowed[self.items[start:stop]]] = -np.inf
            result[users[low:high], columns[low:high], : stop - start] = block
        return result


def _cells(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the cell of each point ``(M,)``; all points that fit into the searched cells form equal parts."""
    count = -(-len(points) // CELL_ITEMS)
    if count <= SEARCHED_CELLS:  # all of them are searched, so similar items need not be together
        return np.arange(len(points)) // CELL_ITEMS
    rows = sample_rows(len(points), _SAMPLE_PER_CELL * count, _SEED)
    sample = points if rows is None else points[rows]
    drawn = sample_rows(len(sample), count, _SEED)
    centers = sample if drawn is None else sample[drawn]
    for _ in range(_ROUNDS):
        codes = nearest(sample, centers, squared_norms(centers))
        sizes = np.bincount(codes, minlength=count)
        means = sums_by_code(sample, codes, count) / np.maximum(sizes, 1)[:, None]
        centers = np.where(sizes[:, None] > 0, means, centers).astype(np.float32)
    return nearest(points, centers, squared_norms(centers))


def _largest(values: NDArray[np.float32], count: int) -> Pairs:
    """Return rows and columns of the ``count`` largest values above 0 of each row, and of all that equal the last one."""
    border = np.zeros((len(values), 1), dtype=values.dtype)
    if values.shape[1] > count:
        kept = values.shape[1] - count
        border = np.partition(values, kept, axis=1)[:, kept : kept + 1]
    rows, columns = np.nonzero((values >= border) & (values > 0))
    return rows, columns
