"""The reason for an item of a blended list: the history item that contributes most to the item's score.

Only the features of the counters and of the vectors are sums over history items. Reasons ignore all other features, such
as two hops and products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.blend.features import COUNTER_FLOOR, FLAT_DECAY, SMOOTHED, TEXT_OF_NEW, vector_features
from semconv.blend.tables import TEXT, BlendTables, BlendUsers
from semconv.blend.weights import LogitWeights
from semconv.counter.scores import entries, geometric_weights, history_weights
from semconv.ragged import offsets_of, ranges, row_of

# Largest number of pairs (a listed item and a history item) in one block.
_BLOCK_PAIRS = 1 << 19


def blend_reasons(
    tables: BlendTables, weights: LogitWeights, users: BlendUsers, items: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return for each listed item the history item that contributes most to the listed item's score.

    A feature of the vectors is a sum with one term for each history item. The counter's feature is the logarithm of a
    sum over history items plus a constant. The difference between this logarithm and the logarithm for an empty history
    is divided among the history items in proportion to their terms. An item is never the reason for itself.

    Args:
        tables: the tables of the blend that ranked the lists.
        weights: the weights that ranked the lists.
        items: ``(B, K)`` item_index, -1 where a list is shorter.

    Returns:
        ``(B, K)`` item_index, -1 where no history item raises the score.
    """
    result = np.full(items.shape, -1, dtype=np.int32)
    longest = int(users.lengths.max(initial=0))
    step = max(1, _BLOCK_PAIRS // max(1, items.shape[1] * longest))
    known = users.known(tables.num_items)
    for start in range(0, len(items) if longest else 0, step):
        stop = start + step
        result[start:stop] = _reasons(tables, weights, known.part(start, stop), items[start:stop])
    return result


@dataclass(frozen=True)
class _Pairs:
    """All pairs of a listed item and an item of the same user's history.

    Attributes:
        listed: ``(m,)`` item_index of the listed item.
        history: ``(m,)`` item_index of the history item.
        history_index: ``(m,)`` index of the history item in ``BlendUsers.items``.
        list_entry: ``(m,)`` number of the listed item among the listed items of all users, from 0.
        num_entries: number of listed items of all users.
    """

    listed: NDArray[np.int64]
    history: NDArray[np.int64]
    history_index: NDArray[np.int64]
    list_entry: NDArray[np.int64]
    num_entries: int


def _reasons(
    tables: BlendTables, weights: LogitWeights, users: BlendUsers, items: NDArray[np.int32]
) -> NDArray[np.int32]:
    rows, columns = np.nonzero((items >= 0) & (items < tables.num_items))
    lengths = users.lengths[rows]
    entry = row_of(lengths)
    index = ranges(offsets_of(users.lengths)[rows], lengths)
    listed, history = items[rows, columns].astype(np.int64)[entry], users.items[index].astype(np.int64)
    contribution = _contributions(tables, weights, users, _Pairs(listed, history, index, entry, len(rows)))
    contribution[history == listed] = 0.0
    result = np.full(items.shape, -1, dtype=np.int32)
    order = np.lexsort((index, contribution, entry))  # of equal contributions, the latest item comes last
    best = order[np.flatnonzero(np.diff(entry[order], append=-1) != 0)]
    best = best[contribution[best] > 0]
    result[rows[entry[best]], columns[entry[best]]] = history[best]
    return result


def _contributions(tables: BlendTables, weights: LogitWeights, users: BlendUsers, pairs: _Pairs) -> NDArray[np.float64]:
    """Return how much the history item of each pair adds to the score of the pair's listed item, ``(m,)``."""
    history, listed = pairs.history, pairs.listed
    slopes = dict(zip(weights.names, weights.slopes.tolist(), strict=True))
    recent = history_weights(users.lengths, tables.history_decay)[pairs.history_index]
    flat = history_weights(users.lengths, FLAT_DECAY)[pairs.history_index]
    is_latest = np.zeros(len(users.items), dtype=bool)
    is_latest[(np.cumsum(users.lengths) - 1)[users.lengths > 0]] = True
    latest = is_latest[pairs.history_index].astype(np.float64)
    total = np.zeros(len(history))
    if tables.counter is not None:
        counted = entries(tables.counter, history, listed)
        for name, of_item in (("transition", recent), ("transition of the latest item", latest)):
            terms = of_item * counted
            # If there is no pair, bincount returns integers.
            sums = np.bincount(pairs.list_entry, terms, pairs.num_entries).astype(np.float64)
            above = np.log1p(sums / COUNTER_FLOOR)
            share = np.divide(above, sums, out=np.zeros_like(sums), where=sums > 0)
            total += slopes[name] * terms * share[pairs.list_entry]
    if tables.smoothed is not None:
        decay = tables.smoothed.weights.history_decay
        lifts = entries(tables.smoothed.lifts, history, listed)
        by_recency = geometric_weights(users.lengths, decay)[pairs.history_index]
        total += lifts * (slopes[SMOOTHED[0]] * by_recency + slopes[SMOOTHED[1]] * latest)
    for name, table in tables.vectors.items():
        cosine = np.einsum("nd,nd->n", table[history], table[listed])
        by_feature = zip(vector_features(name), (recent, flat, latest), strict=True)
        total += cosine * sum(slopes[feature] * of_item for feature, of_item in by_feature)
        if name == TEXT:
            total += cosine * slopes[TEXT_OF_NEW] * recent * tables.are_new(listed)
    return total
