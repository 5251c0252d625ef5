"""Filling up lists from one ranking, for users without a history and for lists with fewer than K items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import find, lengths_of, row_of

# Elements of the table (users, candidates) of one block of users.
_BLOCK_ELEMENTS = 1 << 22


def fill_from_ranking(
    items: NDArray[np.int32],
    scores: NDArray[np.float32],
    ranking: NDArray[Any],
    seen: Sequence[NDArray[Any]] | None,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Fill the empty ends of lists from one ranking, without items that a user has seen or that are listed already.

    Each item from the ranking gets the score of the item before it minus 1; the first item of an empty list gets -1. So
    scores are finite and fall along a list. The scores of items from the ranking are no log probabilities.

    Args:
        items: ``(B, K)`` item_index, best first, with -1 at the empty end of a list.
        scores: ``(B, K)`` scores of ``items``.
        ranking: ``(R,)`` distinct item_index of items that may be listed, best first.
        seen: B arrays of item_index to leave out, or None.

    Returns:
        new arrays of items and scores ``(B, K)``, and ``(B, K)`` True for the items that come from the ranking.
    """
    items, scores = items.copy(), scores.copy()
    filled = np.zeros(items.shape, dtype=bool)
    short = np.flatnonzero((items < 0).any(axis=1))
    excluded: list[NDArray[Any]] = [items[row] for row in short.tolist()]
    if seen is not None:
        excluded = [np.concatenate([listed, seen[row]]) for listed, row in zip(excluded, short.tolist(), strict=True)]
    longest = max((len(row) for row in excluded), default=0)
    depth = min(len(ranking), items.shape[1] + longest)  # enough for the user with the most excluded items
    block = max(1, _BLOCK_ELEMENTS // max(depth, 1))
    for start in range(0, len(short), block):
        rows = short[start : start + block]
        candidates = _first_new(np.asarray(ranking[:depth]), excluded[start : start + block], items.shape[1])
        empty = items[rows] < 0  # (b, K)
        column = np.where(empty, np.cumsum(empty, axis=1) - 1, 0)
        chosen = np.where(empty, np.take_along_axis(candidates, column, axis=1), items[rows])
        filled[rows] = empty & (chosen >= 0)
        items[rows] = chosen
    steps = np.cumsum(filled, axis=1)  # (B, K)
    last = np.where(items >= 0, ~filled, False).sum(axis=1) - 1  # (B,) column of each list's last item before filling
    floor = np.where(last >= 0, scores[np.arange(len(items)), last], 0.0)
    scores[filled] = (floor[:, None] - steps)[filled]
    return items, scores, filled


def _first_new(ranking: NDArray[Any], excluded: Sequence[NDArray[Any]], count: int) -> NDArray[np.int32]:
    """Return ``(b, count)``: for each user the first items of the ranking that are not excluded, padded with -1."""
    size = int(max(ranking.max(initial=-1), max((row.max(initial=-1) for row in excluded), default=-1))) + 1
    users, items = row_of(lengths_of(excluded)), np.concatenate(excluded).astype(np.int64)
    keys = np.unique(users[items >= 0] * size + items[items >= 0])
    table = np.arange(len(excluded))[:, None] * size + ranking[None, :].astype(np.int64)  # (b, R)
    is_new = ~find(keys, table)[1]
    column = np.cumsum(is_new, axis=1) - 1
    row, rank = np.nonzero(is_new & (column < count))
    result = np.full((len(excluded), count), -1, dtype=np.int32)
    result[row, column[row, rank]] = ranking[rank]
    return result
