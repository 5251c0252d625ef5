"""Scores of the transition counter: histories, weighted by recency, times the table of counts.

The blend, the search of the counter's parameters and ``sql/baselines/transition.sql`` score and rank alike: an item of
a history weighs (recency + 1)^-history_decay, scores are rounded, and the more popular of two equal items comes first.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.ragged import offsets_of, position_of

DECIMALS = 9  # scores are rounded as in SQL, so that the order of a sum does not break ties


def history_weights(lengths: NDArray[np.int64], decay: float) -> NDArray[np.float64]:
    """Return ``(m,)`` (recency + 1)^-decay of the items of histories; the recency of a latest item is 0.

    Args:
        lengths: ``(B,)`` of histories that lie one after the other.
    """
    recency = np.repeat(lengths, lengths) - position_of(lengths) - 1
    return np.asarray((recency + 1.0) ** -decay)


def history_matrix(items: NDArray[np.int32], lengths: NDArray[np.int64], num_items: int, decay: float) -> sp.csr_array:
    """Return ``(B, I)`` the weights of the items of B histories; an item that comes twice counts twice.

    Args:
        items: ``(m,)`` items of the histories, one history after the other, oldest item first.
        lengths: ``(B,)`` items of each history.
    """
    values = history_weights(lengths, decay)
    return sp.csr_array((values, items.astype(np.int64), offsets_of(lengths)), shape=(len(lengths), num_items))


def popularity_order(popularity: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``(I,)`` each item's position in the order of popularity, 0 for the most popular; ties by item_index."""
    position = np.empty(len(popularity), dtype=np.int64)
    position[np.argsort(-popularity, kind="stable")] = np.arange(len(popularity))
    return position


def entries(matrix: sp.csr_array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ``(n,)`` entries of a matrix, 0 where nothing is stored. All are searched for at once.

    Args:
        matrix: the columns of each row ascend.
        rows, columns: ``(n,)``.
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
