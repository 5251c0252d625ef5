"""Scores of the transition counter: a matrix of histories, weighted by recency, times the table of counts.

The blend, the search for the counter's parameters and ``sql/baselines/transition.sql`` use the same rules. An item of a
history has the weight (recency + 1)^-history_decay. Recency is 0 for the latest item, 1 for the one before it, and so
on. Scores are rounded, and of two items with equal scores the more popular one comes first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.ragged import offsets_of, position_of

DECIMALS = 9  # SQL rounds to as many, so that the order of summation does not decide between equal scores


def history_weights(lengths: NDArray[np.int64], decay: float) -> NDArray[np.float64]:
    """Return the weight (recency + 1)^-decay of each item of B histories, one history after the other, ``(m,)``.

    Args:
        lengths: ``(B,)`` number of items of each history.
    """
    recency = np.repeat(lengths, lengths) - position_of(lengths) - 1
    return np.asarray((recency + 1.0) ** -decay)


def geometric_weights(lengths: NDArray[np.int64], decay: float) -> NDArray[np.float64]:
    """Return the weight decay^recency of each item of B histories, one history after the other, ``(m,)``."""
    recency = np.repeat(lengths, lengths) - position_of(lengths) - 1
    return np.asarray(decay**recency, dtype=np.float64)


def history_matrix(items: NDArray[np.int32], lengths: NDArray[np.int64], num_items: int, decay: float) -> sp.csr_array:
    """Return the weights of B histories as a matrix ``(B, I)``; the weights of a repeated item are added.

    Args:
        items: ``(m,)`` items of the histories, one history after the other, oldest item first.
        lengths: ``(B,)`` number of items of each history.
    """
    return weighted_histories(items, lengths, num_items, history_weights(lengths, decay))


def weighted_histories(
    items: NDArray[np.int32], lengths: NDArray[np.int64], num_items: int, weights: NDArray[np.float64]
) -> sp.csr_array:
    """Return given weights ``(m,)`` of B histories as a matrix ``(B, I)``; the weights of a repeated item are added."""
    return sp.csr_array((weights, items.astype(np.int64), offsets_of(lengths)), shape=(len(lengths), num_items))


def popularity_order(popularity: NDArray[Any]) -> NDArray[np.int64]:
    """Return each item's position in the order of popularity, ``(I,)``, 0 for the most popular; ties by item_index."""
    position = np.empty(len(popularity), dtype=np.int64)
    position[np.argsort(-popularity, kind="stable")] = np.arange(len(popularity))
    return position


def entries(matrix: sp.csr_array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return entries ``(n,)`` of a sparse matrix, 0 where none is stored. One binary search finds all entries.

    Args:
        matrix: the column indices of each row ascend.
        rows, columns: ``(n,)`` indices of the wanted entries.
    """
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


def sorted_rows(matrix: sp.csr_array) -> sp.csr_array:
    """Return a matrix whose rows have their columns in ascending order."""
    result = sp.csr_array(matrix)
    result.sort_indices()
    return result
