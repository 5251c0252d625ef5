"""The reason for a recommended item: the item of the user's history whose behaviour vector is nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import lengths_of, padded

# Elements of one block of gathered vectors: 64 MiB of float32.
_BLOCK_ELEMENTS = 1 << 24


def nearest_in_history(
    histories: Sequence[NDArray[Any]], items: NDArray[Any], vectors: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Return for each listed item the history item with the largest cosine to it.

    Of equally near history items the latest one counts. An item is never the reason for itself.

    Args:
        histories: B arrays of item_index, the oldest item first.
        items: ``(B, K)`` item_index, -1 where a list is shorter.
        vectors: ``(I, D)`` behaviour vectors of length 1 (``blend.tables.unit_vectors``).

    Returns:
        ``(B, K)`` item_index, -1 if the listed item has no vector or no other item of the history has one.
    """
    lengths = lengths_of(histories)
    result = np.full(items.shape, -1, dtype=np.int32)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order) and lengths[order[start]] > 0:
        stop = start + max(1, _BLOCK_ELEMENTS // (int(lengths[order[start]]) * vectors.shape[1]))
        rows = order[start:stop]
        latest_first = np.concatenate([histories[row][::-1] for row in rows]).astype(np.int64, copy=False)
        result[rows] = _nearest(padded(latest_first, lengths[rows], -1), items[rows], vectors)
        start = stop
    return result


def _nearest(history: NDArray[np.int64], items: NDArray[Any], vectors: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return for each of ``items`` ``(b, K)`` the nearest of ``history`` ``(b, H)``, -1 for none or as padding."""
    has_vector: NDArray[np.bool_] = np.any(vectors, axis=1)  # (I,)
    cosine = np.einsum("bkd,bhd->bkh", vectors[items], vectors[history], optimize=True)  # (b, K, H)
    usable = ((history >= 0) & has_vector[history])[:, None, :] & ((items >= 0) & has_vector[items])[:, :, None]
    cosine = np.where(usable & (history[:, None, :] != items[:, :, None]), cosine, -np.inf)
    best = cosine.argmax(axis=2)  # (b, K)
    found = np.take_along_axis(history, best, axis=1)
    none = np.isneginf(np.take_along_axis(cosine, best[:, :, None], axis=2)[:, :, 0])
    return np.where(none, -1, found).astype(np.int32)
