"""Rank items by the dot product of user vector and item vector: a baseline that needs no language model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semconv.behavior.vectors import BehaviorVectors
from semconv.ragged import find

_CHUNK_CELLS = 1 << 22  # scores computed at once, 16 MB


def rank_by_vectors(
    vectors: BehaviorVectors,
    users: NDArray[np.int32],
    allowed: NDArray[np.bool_],
    seen: Sequence[NDArray[np.int32]] | None,
    k: int,
) -> NDArray[np.int32]:
    """Return the k items with the largest dot products for each user; of equal scores the lower item_index comes first.

    Args:
        users: ``(n,)`` user_index.
        allowed: ``(I,)`` items that may be listed.
        seen: n arrays of item_index, the items that each user's list leaves out; None leaves nothing out.
    Returns:
        ``(n, k)`` item_index, -1 where a list is shorter. A user without a vector has an empty list.
    """
    candidates = np.flatnonzero(allowed[vectors.item_index])  # rows of the vectors
    index = vectors.item_index[candidates]  # ascending
    items = np.ascontiguousarray(vectors.item_vectors[candidates].T)  # (D, L)
    result = np.full((len(users), k), -1, dtype=np.int32)
    user_rows, has_vector = find(vectors.user_index, users)
    known = np.flatnonzero(has_vector)
    step = max(1, _CHUNK_CELLS // max(1, len(index)))
    for start in range(0, len(known) if len(index) else 0, step):
        part = known[start : start + step]
        scores = vectors.user_vectors[user_rows[part]] @ items  # (rows, L)
        if seen is not None:
            for row, user in enumerate(part):
                scores[row, _rows_of(index, seen[user])] = -np.inf
        result[part] = best_columns(scores, index, k)
    return result


def _rows_of(index: NDArray[np.int32], items: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the positions in the ascending array ``index`` at which one of ``items`` stands."""
    rows, is_known = find(index, items)
    return rows[is_known]


def best_columns(scores: NDArray[np.float32], index: NDArray[np.int32], k: int) -> NDArray[np.int32]:
    """Return the item indices of the k largest scores in each row ``(n, L)``; scores of minus infinity do not count."""
    count = min(k, scores.shape[1])
    # Find the k-th largest score first, so that item_index also decides between equal scores at the end of the list.
    border = -np.partition(-scores, count - 1, axis=1)[:, count - 1 : count]
    result = np.full((len(scores), k), -1, dtype=np.int32)
    for row, mine in enumerate(scores):
        candidates = np.flatnonzero((mine >= border[row]) & (mine > -np.inf))
        order = candidates[np.argsort(-mine[candidates], kind="stable")][:count]
        result[row, : len(order)] = index[order]
    return result
