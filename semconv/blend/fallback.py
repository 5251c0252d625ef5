"""Lists for users without history, and the tails of lists that came out short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import find, lengths_of, row_of

# Candidates looked at in one block of users.
_BLOCK_ELEMENTS = 1 << 22


def fill_from_fallback(
    items: NDArray[np.int32],
    scores: NDArray[np.float32],
    ranking: NDArray[Any],
    seen: Sequence[NDArray[Any]] | None,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.bool_]]:
    """Fill empty places of lists from one ranking, leaving out what a user has or already got.

    A filled place scores 1 below the place before it (an empty list starts at -1), so scores fall along
    a list and stay finite. They only order the list; they are no log probabilities.

    Args:
        items: ``(B, K)`` item_index, -1 in the empty places at the end.
        scores: ``(B, K)``.
        ranking: ``(R,)`` item_index of allowed items, best first, distinct.
        seen: B arrays of item_index to leave out, or None.

    Returns:
        items and scores ``(B, K)`` as new arrays, and ``(B, K)`` True where a place was filled here.
    """
    items, scores = items.copy(), scores.copy()
    filled = np.zeros(items.shape, dtype=bool)
    short = np.flatnonzero((items < 0).any(axis=1))
    excluded: list[NDArray[Any]] = [items[row] for row in short.tolist()]
    if seen is not None:
        excluded = [np.concatenate([got, seen[row]]) for got, row in zip(excluded, short.tolist(), strict=True)]
    longest = max((len(row) for row in excluded), default=0)
    depth = min(len(ranking), items.shape[1] + longest)  # so deep suffices for the most excluding user
    block = max(1, _BLOCK_ELEMENTS // max(depth, 1))
    for start in range(0, len(short), block):
        rows = short[start : start + block]
        candidates = _first_new(np.asarray(ranking[:depth]), excluded[start : start + block], items.shape[1])
        _place(items, filled, rows, candidates)
    steps = np.cumsum(filled, axis=1)  # (B, K)
    last = np.where(items >= 0, ~filled, False).sum(axis=1) - 1  # (B,) last place of the model's own
    floor = np.where(last >= 0, scores[np.arange(len(items)), last], 0.0)
    scores[filled] = (floor[:, None] - steps)[filled]
    return items, scores, filled


def _first_new(ranking: NDArray[Any], excluded: Sequence[NDArray[Any]], count: int) -> NDArray[np.int32]:
    """The first ``count`` items of the ranking that each row does not exclude, ``(b, count)``, -1 behind."""
    size = int(max(ranking.max(initial=-1), max((row.max(initial=-1) for row in excluded), default=-1))) + 1
    users = row_of(lengths_of(excluded))
    barred = np.concatenate(excluded).astype(np.int64)
    keys = np.unique(users[barred >= 0] * size + barred[barred >= 0])
    table = np.arange(len(excluded))[:, None] * size + ranking[None, :].astype(np.int64)  # (b, R)
    new = ~find(keys, table)[1]
    rank = np.cumsum(new, axis=1) - 1
    row, column = np.nonzero(new & (rank < count))
    result = np.full((len(excluded), count), -1, dtype=np.int32)
    result[row, rank[row, column]] = ranking[column]
    return result


def _place(
    items: NDArray[np.int32], filled: NDArray[np.bool_], rows: NDArray[np.int64], candidates: NDArray[np.int32]
) -> None:
    """Put candidates into the empty places of ``rows``, in order."""
    empty = items[rows] < 0  # (b, K)
    order = np.where(empty, np.cumsum(empty, axis=1) - 1, 0)
    chosen = np.where(empty, np.take_along_axis(candidates, order, axis=1), items[rows])
    filled[rows] = empty & (chosen >= 0)
    items[rows] = chosen
