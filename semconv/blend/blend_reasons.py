"""Which history item speaks most for a blended place: shares of the counter's and of the vectors' terms of its score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semconv.blend.blend import Blend
from semconv.blend.features import COUNTER_FLOOR, FLAT_DECAY, entries
from semconv.blend.tables import BlendUsers
from semconv.counter.transitions import history_weights
from semconv.ragged import offsets_of, ranges, row_of

# Pairs of a place and a history item in one block.
_BLOCK_PAIRS = 1 << 19


def blend_reasons(blend: Blend, users: BlendUsers, items: NDArray[np.int32]) -> NDArray[np.int32]:
    """The history item with the largest contribution to each place's score.

    A sum over vectors falls apart into its items. The counter's feature is a logarithm of a sum: what it lies above
    its floor is shared out in proportion to the items' parts of the sum. No item is a reason for itself.

    Args:
        items: ``(B, K)`` item_index, -1 where a list is shorter.

    Returns:
        ``(B, K)`` item_index, -1 where no history item contributes anything.
    """
    result = np.full(items.shape, -1, dtype=np.int32)
    longest = int(users.lengths.max(initial=0))
    step = max(1, _BLOCK_PAIRS // max(1, items.shape[1] * longest))
    known = users.known(blend.tables.num_items)
    for start in range(0, len(items) if longest else 0, step):
        stop = start + step
        result[start:stop] = _block(blend, known.part(start, stop), items[start:stop])
    return result


def _block(blend: Blend, users: BlendUsers, items: NDArray[np.int32]) -> NDArray[np.int32]:
    tables = blend.tables
    rows, places = np.nonzero((items >= 0) & (items < tables.num_items))
    listed = items[rows, places].astype(np.int64)  # (n,)
    pair = row_of(users.lengths[rows])  # (m,) the place of each pair
    at = ranges(offsets_of(users.lengths)[rows], users.lengths[rows])  # (m,) index in the histories
    history = users.items[at].astype(np.int64)
    contribution = _contributions(blend, users, (at, history, listed[pair]), (pair, len(rows)))
    contribution[history == listed[pair]] = 0.0
    result = np.full(items.shape, -1, dtype=np.int32)
    order = np.lexsort((at, contribution, pair))  # of equal ones the latest
    last = np.flatnonzero(np.diff(pair[order], append=-1) != 0)
    best = order[last]
    best = best[contribution[best] > 0]
    result[rows[pair[best]], places[pair[best]]] = history[best]
    return result


def _contributions(
    blend: Blend,
    users: BlendUsers,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    places: tuple[NDArray[np.int64], int],
) -> NDArray[np.float64]:
    """``(m,)`` of pairs of a history item, at a place of the histories, and a listed item."""
    tables = blend.tables
    at, history, listed = pairs
    pair, num_places = places
    slopes = dict(zip(blend.weights.names, blend.weights.slopes.tolist(), strict=True))
    recent = history_weights(users.lengths, tables.history_decay)[at]
    flat = history_weights(users.lengths, FLAT_DECAY)[at]
    is_latest = np.zeros(len(users.items), dtype=bool)
    is_latest[(np.cumsum(users.lengths) - 1)[users.lengths > 0]] = True
    latest = is_latest[at].astype(np.float64)
    total = np.zeros(len(at))
    if tables.counter is not None:
        counted = entries(tables.counter, history, listed)
        for name, weights in (("transition", recent), ("transition of the latest item", latest)):
            terms = weights * counted
            sums = np.bincount(pair, terms, num_places).astype(np.float64)  # of integers where there is no pair
            above = np.log1p(sums / COUNTER_FLOOR)
            share = np.divide(above, sums, out=np.zeros_like(sums), where=sums > 0)
            total += slopes[name] * terms * share[pair]
    for name, table in tables.vectors.items():
        cosine = np.einsum("nd,nd->n", table[history], table[listed])
        names = (f"{name} of the history", f"{name} of the whole history", f"{name} of the latest item")
        total += cosine * sum(slopes[of] * weights for of, weights in zip(names, (recent, flat, latest), strict=True))
    return total
