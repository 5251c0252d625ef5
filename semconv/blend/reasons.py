"""Why an item is recommended: the history item that speaks most for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import lengths_of, padded

# Elements of one block of gathered vectors: 64 MiB of float32.
_BLOCK_ELEMENTS = 1 << 24


def vector_table(item_index: NDArray[Any], vectors: NDArray[Any], num_items: int) -> NDArray[np.float32]:
    """Unit vectors by item_index ``(I, D)``, zero rows for items without one.

    Args:
        item_index: ``(M,)``.
        vectors: ``(M, D)``.
        num_items: I.
    """
    table = np.zeros((num_items, vectors.shape[1]), dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    table[item_index] = vectors / np.where(norms > 0, norms, 1.0)
    return table


def reasons(histories: Sequence[NDArray[Any]], items: NDArray[Any], vectors: NDArray[np.float32]) -> NDArray[np.int32]:
    """The history item with the largest cosine to each recommended one; of equals the latest.

    An item is no reason for itself.

    Args:
        histories: B arrays of item_index in order.
        items: ``(B, K)`` item_index, -1 where a list is shorter.
        vectors: ``(I, D)`` of ``vector_table``.

    Returns:
        ``(B, K)`` item_index, -1 where either side has no vector.
    """
    lengths = lengths_of(histories)
    result = np.full(items.shape, -1, dtype=np.int32)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order) and lengths[order[start]] > 0:
        stop = start + max(1, _BLOCK_ELEMENTS // (int(lengths[order[start]]) * vectors.shape[1]))
        rows = order[start:stop]
        latest_first = np.concatenate([histories[row][::-1] for row in rows]).astype(np.int64, copy=False)
        result[rows] = _block(padded(latest_first, lengths[rows], -1), items[rows], vectors)
        start = stop
    return result


def _block(history: NDArray[np.int64], items: NDArray[Any], vectors: NDArray[np.float32]) -> NDArray[np.int32]:
    has_vector: NDArray[np.bool_] = np.any(vectors, axis=1)  # (I,)
    cosine = np.einsum("bkd,bhd->bkh", vectors[items], vectors[history], optimize=True)  # (B, K, H)
    usable = ((history >= 0) & has_vector[history])[:, None, :] & ((items >= 0) & has_vector[items])[:, :, None]
    cosine = np.where(usable & (history[:, None, :] != items[:, :, None]), cosine, -np.inf)
    best = cosine.argmax(axis=2)  # (B, K)
    found = np.take_along_axis(history, best, axis=1)
    none = np.isneginf(np.take_along_axis(cosine, best[:, :, None], axis=2)[:, :, 0])
    return np.where(none, -1, found).astype(np.int32)
