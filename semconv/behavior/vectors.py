"""Centre, scale and save behaviour vectors, both learned and given ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.artifacts import read_arrays, write_arrays
from semconv.columns import GIVEN, LEARNED
from semconv.data.store import Sequences
from semconv.errors import InputError
from semconv.ragged import find, row_of

_NAMES = ("item_index", "item_vectors", "user_index", "user_vectors", "mean", "scale", "is_given")


@dataclass(frozen=True)
class BehaviorVectors:
    """Item and user vectors with D dimensions; items and users without a vector have no row."""

    item_index: NDArray[np.int32]  # (M,)
    item_vectors: NDArray[np.float32]  # (M, D) centred, mean norm 1
    user_index: NDArray[np.int32]  # (V,)
    user_vectors: NDArray[np.float32]  # (V, D) scaled like the items, not centred
    mean: NDArray[np.float32]  # (D,) mean that was subtracted from the item vectors
    scale: float  # factor by which item and user vectors were then multiplied
    source: str  # 'learned' or 'given'

    def save(self, path: Path) -> None:
        """Write the vectors as safetensors; the source is saved as a flag, 1 for given."""
        write_arrays(
            path,
            {
                "item_index": self.item_index,
                "item_vectors": self.item_vectors,
                "user_index": self.user_index,
                "user_vectors": self.user_vectors,
                "mean": self.mean,
                "scale": np.array([self.scale], dtype=np.float32),
                "is_given": np.array([self.source == GIVEN], dtype=np.uint8),
            },
        )

    @classmethod
    def load(cls, path: Path) -> BehaviorVectors:
        """Read saved vectors; raise InputError if the file is missing, damaged or contains other arrays."""
        arrays = read_arrays(path)
        missing = [name for name in _NAMES if name not in arrays]
        if missing:
            raise InputError(f"{path}: {', '.join(missing)} missing; run `semconv embed behavior` again")
        return cls(
            item_index=arrays["item_index"],
            item_vectors=arrays["item_vectors"],
            user_index=arrays["user_index"],
            user_vectors=arrays["user_vectors"],
            mean=arrays["mean"],
            scale=float(arrays["scale"][0]),
            source=GIVEN if arrays["is_given"][0] else LEARNED,
        )


def normalize(
    item_index: NDArray[np.int32],
    item_vectors: NDArray[np.floating],
    user_index: NDArray[np.int32],
    user_vectors: NDArray[np.floating],
    source: str,
) -> BehaviorVectors:
    """Centre the item vectors, and scale item and user vectors so that the mean norm of the items is 1.

    User vectors are not centred. The order of a user's items by dot product is the same as before centring, because
    ``s u . s (v - m) = s^2 (u . v - u . m)``. See docs/method.md, stage one.

    Args:
        item_vectors: ``(M, D)``, without NaN and infinite values.
        user_vectors: ``(V, D)``, without NaN and infinite values.
        source: ``learned`` or ``given``.
    """
    mean = item_vectors.mean(axis=0, dtype=np.float64)  # (D,)
    centred = item_vectors - mean  # (M, D)
    mean_norm = float(np.linalg.norm(centred, axis=1).mean())
    scale = 1.0 / mean_norm if mean_norm > 0 else 1.0  # all items are equal, and lie at the origin
    return BehaviorVectors(
        item_index=item_index.astype(np.int32),
        item_vectors=(centred * scale).astype(np.float32),
        user_index=user_index.astype(np.int32),
        user_vectors=(user_vectors * scale).astype(np.float32),
        mean=mean.astype(np.float32),
        scale=float(np.float32(scale)),
        source=source,
    )


def history_means(
    item_index: NDArray[np.int32], item_vectors: NDArray[np.floating], sequences: Sequences
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the weighted mean item vector of each user's interactions, for each user with at least one such vector.

    Args:
        item_index: ``(M,)`` ascending.
        item_vectors: ``(M, D)`` before ``normalize``.

    Returns:
        user_index ``(V,)`` and user vectors ``(V, D)``.
    """
    columns, has_vector = find(item_index, sequences.items)
    users = row_of(sequences.lengths)[has_vector]
    known, rows = np.unique(users, return_inverse=True)
    weights = np.ones(len(rows)) if sequences.weights is None else sequences.weights[has_vector]
    membership = sp.csr_array((weights, (rows, columns[has_vector])), shape=(len(known), len(item_index)))
    sums = np.bincount(rows, weights, len(known))[:, None]
    return known.astype(np.int32), (membership @ item_vectors) / sums


def require_trainable(sequences: Sequences, num_items: int) -> None:
    """Raise InputError if there is no interaction, or if an item_index lies outside the catalogue."""
    if len(sequences.items) == 0:
        raise InputError("no interaction is left to train on; ingest more, or lower split.k_core")
    outside = (sequences.items >= num_items) | (sequences.items < 0)
    if outside.any():
        raise InputError(
            f"item_index {sequences.items[outside][0]} lies outside the {num_items} items of the catalogue"
        )
