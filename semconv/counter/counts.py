"""Counts of transitions: which items follow each other in the sequences of users.

Any two items of a sequence that are at most 20 positions apart form a pair. A pair at distance d counts d^-decay, times
the weights of both interactions if events have types. Two
functions sum up the pairs in a table of items by items. ``count_transitions`` makes the table of the transition
counter, as in ``sql/baselines/transition.sql``. In the transition counter, the reverse pair counts ``symmetry`` times
as much, and each row is divided by (row sum + 1)^alpha. The blend and the search for the counter's parameters use this
table. ``count_neighbors`` makes a symmetric table, from which ``behavior.graph = transitions`` computes behaviour
vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.counter.scores import DECIMALS
from semconv.data.store import Sequences
from semconv.ragged import offsets_of, position_of

FARTHEST = 20  # items of a sequence that are farther apart say little about each other
# Number of pairs in one block of rows; a pair needs about 40 bytes of memory.
_BLOCK_PAIRS = 20_000_000


class PairRows(Protocol):
    """Sequences whose pairs are counted: rows of all users, one user after the other."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of rows of each user, ``(U,)``."""

    @property
    def items(self) -> NDArray[np.int32]:
        """Item index of each row, ``(n,)``."""

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Weight of each row ``(n,)``; None: all weigh 1."""


@dataclass(frozen=True)
class CounterWeights:
    """The parameters of the transition counter. The settings of the section ``[counter]`` explain each of them."""

    decay: float
    symmetry: float
    history_decay: float
    alpha: float


def count_transitions(sequences: Sequences, num_items: int, weights: CounterWeights, neighbors: int) -> sp.csr_array:
    """Return the table of the transition counter: how often one item follows another, with normalised rows.

    Rows are computed block by block. So memory holds only the pairs of one block and the entries that are kept.

    Args:
        sequences: the train cut.
        num_items: I.
        weights: the parameters of the counter.
        neighbors: number of entries to keep in each row, those with the largest values; 0 keeps all. The division uses
            the sum of all entries of a row, before any entry is dropped.

    Returns:
        ``(I, I)``, float64, the columns of a row ascending.
    """
    by_distance = [distance**-weights.decay for distance in range(1, FARTHEST + 1)]
    return joined_rows(
        [
            largest(_divided(block, weights.alpha), neighbors)
            for block in pair_blocks(sequences, num_items, by_distance, weights.symmetry)
        ],
        num_items,
    )


def joined_rows(rows: Sequence[sp.csr_array], num_items: int) -> sp.csr_array:
    """Return one table ``(I, I)`` of the rows of all blocks, the columns of a row ascending."""
    result = sp.csr_array(sp.vstack(rows, format="csr")) if rows else sp.csr_array((num_items, num_items))
    result.sort_indices()
    if max(result.nnz, num_items) <= np.iinfo(np.int32).max:  # half the memory, and faster products
        starts = result.indptr.astype(np.int32)
        result = sp.csr_array((result.data, result.indices.astype(np.int32), starts), shape=result.shape)
    return result


def item_weights(sequences: Sequences, num_items: int) -> NDArray[np.int64] | NDArray[np.float64]:
    """Return the popularity of each item: the sum of the weights of its interactions, ``(I,)``; their number if all weigh 1.

    Sums are rounded, as in the SQL baselines, so that the order of the additions does not decide between equal sums.
    """
    if sequences.weights is None:
        return np.bincount(sequences.items, minlength=num_items).astype(np.int64)
    return np.bincount(sequences.items, sequences.weights, num_items).round(DECIMALS)


def count_neighbors(
    items: NDArray[np.int64],
    lengths: NDArray[np.int64],
    num_items: int,
    decay: float,
    weights: NDArray[np.float64] | None = None,
) -> sp.csr_array:
    """Return how often two items are near each other, in either order, without pairs of an item with itself.

    The counts are summed for each distance, and then over the distances. ``count_transitions`` adds in a different
    order, so the results of both functions may differ in the last bit.

    Args:
        items: ``(n,)`` items of all sequences, one sequence after the other.
        lengths: ``(U,)`` number of items of each sequence.
        weights: ``(n,)`` weight of each interaction; a pair counts the product of both weights times as much.

    Returns:
        ``(I, I)``, float64, symmetric.
    """
    counts = sp.csr_array((num_items, num_items))
    for distance, first, second in _pairs(_items_left(lengths), FARTHEST):
        values = _pair_values(distance**-decay, weights, first, second)
        counts = counts + sp.csr_array((values, (items[first], items[second])), shape=counts.shape)
    counts = sp.csr_array(counts + counts.T)
    counts.setdiag(0.0)  # pairs of an item with itself say nothing about other items
    return counts


def _pairs(left: NDArray[np.int64], reach: int) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Yield each distance up to ``reach``, with the rows of the earlier and the later item of each pair at it."""
    for distance in range(1, min(reach, int(left.max(initial=0))) + 1):
        earlier = np.flatnonzero(left >= distance)
        yield distance, earlier, earlier + distance


def _pair_values(
    value: float, weights: NDArray[np.float64] | None, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return what each pair of rows counts: ``value`` times the weights of both rows."""
    return np.full(len(first), value) if weights is None else value * weights[first] * weights[second]


def _items_left(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of items that follow each item in its sequence, ``(n,)``."""
    return np.repeat(lengths, lengths) - position_of(lengths) - 1


def pair_blocks(
    sequences: PairRows, num_items: int, by_distance: Sequence[float], symmetry: float
) -> Iterator[sp.csr_array]:
    """Yield the rows of a table ``(I, I)`` of counted pairs in order, in blocks of about ``_BLOCK_PAIRS`` pairs.

    Args:
        by_distance: the count of a pair at each distance, from 1 up to the largest distance that counts.
        symmetry: the share of its count that a pair also adds to the reverse pair.
    """
    lengths, reach = sequences.lengths, len(by_distance)
    left = _items_left(lengths)
    pairs = np.minimum(left, reach) + np.minimum(position_of(lengths), reach)
    before = np.cumsum(np.bincount(sequences.items, pairs, num_items))
    edges = np.searchsorted(before, np.arange(0, before[-1] if num_items else 0, _BLOCK_PAIRS), side="right")
    bounds = np.unique([0, *edges.tolist(), num_items])
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        yield _block(sequences, left, (low, high, num_items), by_distance, symmetry)


def _block(
    sequences: PairRows,
    left: NDArray[np.int64],
    rows: tuple[int, int, int],
    by_distance: Sequence[float],
    symmetry: float,
) -> sp.csr_array:
    low, high, num_items = rows
    parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]] = []
    items = sequences.items
    for distance, earlier, later in _pairs(left, len(by_distance)):
        first, second = items[earlier], items[later]
        for own, other, weight in ((first, second, 1.0), (second, first, symmetry)):
            inside = (own >= low) & (own < high)
            values = _pair_values(weight * by_distance[distance - 1], sequences.weights, earlier[inside], later[inside])
            parts.append((own[inside] - low, other[inside], values))
    if not parts:
        return sp.csr_array((high - low, num_items))
    own, other, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return sp.csr_array((values, (own, other)), shape=(high - low, num_items))


def _divided(rows: sp.csr_array, alpha: float) -> sp.csr_array:
    sums = np.asarray(rows.sum(axis=1)).ravel()
    return sp.csr_array(sp.diags_array((sums + 1.0) ** -alpha) @ rows)


def largest(rows: sp.csr_array, neighbors: int) -> sp.csr_array:
    """Return only the ``neighbors`` largest entries of each row; of equal entries, keep the lower item_index."""
    counts = np.diff(rows.indptr)
    if neighbors == 0 or counts.max(initial=0) <= neighbors:
        return rows
    keep = np.ones(rows.nnz, dtype=bool)
    for row in np.flatnonzero(counts > neighbors).tolist():
        start, end = rows.indptr[row], rows.indptr[row + 1]
        values = rows.data[start:end]
        order = np.lexsort((rows.indices[start:end], -values))
        keep[start + order[neighbors:]] = False
    offsets = offsets_of(np.minimum(counts, neighbors))
    return sp.csr_array((rows.data[keep], rows.indices[keep], offsets), shape=rows.shape)
