"""The transition counter: which items follow which, counted over the train cut.

The arrays of ``sql/baselines/transition.sql``, one matrix for all users: an ordered pair of a training sequence at
distance d <= 20 adds d^-decay, the reverse pair ``symmetry`` times that; a row is divided by (its sum + 1)^alpha. A
user's history weighted by (recency + 1)^-history_decay times the matrix gives the counter's score of every item.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.data.store import Sequences
from semconv.ragged import offsets_of, position_of

FARTHEST = 20  # items of a sequence farther apart say little of each other
# Pairs of one block of rows, some 40 bytes each.
_BLOCK_PAIRS = 20_000_000


@dataclass(frozen=True)
class CounterWeights:
    """Exponents of the counter; the settings of the section ``[counter]`` say what each does."""

    decay: float
    symmetry: float
    history_decay: float
    alpha: float


def count_transitions(sequences: Sequences, num_items: int, weights: CounterWeights, neighbors: int) -> sp.csr_array:
    """Counted and divided pairs ``(I, I)``, float64, columns of a row ascending.

    Rows are made block by block, so that memory is bounded by the pairs of a block and by what is kept.

    Args:
        sequences: the train cut.
        num_items: I.
        weights: exponents.
        neighbors: successors kept of a row, those with the largest weights; 0 keeps all. A row's sum is of all.
    """
    rows = [
        _strongest(_divided(block, weights.alpha), neighbors)
        for block in _blocks(sequences, num_items, weights.decay, weights.symmetry)
    ]
    result = sp.csr_array(sp.vstack(rows, format="csr")) if rows else sp.csr_array((num_items, num_items))
    result.sort_indices()
    if max(result.nnz, num_items) <= np.iinfo(np.int32).max:  # half the room, and faster to walk
        starts = result.indptr.astype(np.int32)
        result = sp.csr_array((result.data, result.indices.astype(np.int32), starts), shape=result.shape)
    return result


def history_weights(lengths: NDArray[np.int64], decay: float) -> NDArray[np.float64]:
    """(recency + 1)^-decay of the items of histories that lie one after the other, recency 0 for the latest of each."""
    recency = np.repeat(lengths, lengths) - position_of(lengths) - 1
    return np.asarray((recency + 1.0) ** -decay)


def history_matrix(items: NDArray[np.int32], lengths: NDArray[np.int64], num_items: int, decay: float) -> sp.csr_array:
    """``(B, I)`` weights of the items of B histories; an item that comes twice counts twice.

    Args:
        items: ``(m,)`` items of the histories one after the other, in order.
        lengths: ``(B,)`` of each.
    """
    values = history_weights(lengths, decay)
    return sp.csr_array((values, items.astype(np.int64), offsets_of(lengths)), shape=(len(lengths), num_items))


def _blocks(sequences: Sequences, num_items: int, decay: float, symmetry: float) -> Iterator[sp.csr_array]:
    """Undivided rows, in order: pairs of both directions whose own item lies in a block."""
    lengths = sequences.lengths
    position = position_of(lengths)
    left = np.repeat(lengths, lengths) - position - 1  # items of the sequence after each
    pairs = np.minimum(left, FARTHEST) + np.minimum(position, FARTHEST)
    before = np.cumsum(np.bincount(sequences.items, pairs, num_items))
    edges = np.searchsorted(before, np.arange(0, before[-1] if num_items else 0, _BLOCK_PAIRS), side="right")
    bounds = np.unique([0, *edges.tolist(), num_items])
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        yield _block(sequences.items, left, (low, high, num_items), (decay, symmetry))


def _block(
    items: NDArray[np.int32],
    left: NDArray[np.int64],
    rows: tuple[int, int, int],
    exponents: tuple[float, float],
) -> sp.csr_array:
    low, high, num_items = rows
    decay, symmetry = exponents
    parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]] = []
    for distance in range(1, min(FARTHEST, int(left.max(initial=0))) + 1):
        earlier = np.flatnonzero(left >= distance)
        first, second = items[earlier], items[earlier + distance]
        for own, other, weight in ((first, second, 1.0), (second, first, symmetry)):
            inside = (own >= low) & (own < high)
            count = int(inside.sum())
            parts.append((own[inside] - low, other[inside], np.full(count, weight * distance**-decay)))
    if not parts:
        return sp.csr_array((high - low, num_items))
    own, other, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    return sp.csr_array((values, (own, other)), shape=(high - low, num_items))


def _divided(rows: sp.csr_array, alpha: float) -> sp.csr_array:
    sums = np.asarray(rows.sum(axis=1)).ravel()
    return sp.csr_array(sp.diags_array((sums + 1.0) ** -alpha) @ rows)


def _strongest(rows: sp.csr_array, neighbors: int) -> sp.csr_array:
    """The ``neighbors`` largest entries of each row; of equal ones those of the lower item_index."""
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
