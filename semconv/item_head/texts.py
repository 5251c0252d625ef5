"""Text vectors of all items for the item head: centred, turned to their main directions, and of mean length 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WIDTH = 64


@dataclass(frozen=True)
class TextBasis:
    """The mean and the main directions of the text vectors of the items in a tuning; new items are turned in the same way.

    Attributes:
        mean: ``(D,)``.
        directions: ``(D, T)``, scaled so that the projected vectors have a mean square length of 1; T is at most 64.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> TextBasis:
        """Fit the basis to text vectors ``(M, D)``; without vectors, or without differences between them, T is 0."""
        if len(vectors) < 2:
            return cls(np.zeros(vectors.shape[1], np.float32), np.zeros((vectors.shape[1], 0), np.float32))
        mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - mean
        values, directions = np.linalg.eigh(centred.T @ centred / len(vectors))  # ascending
        kept = np.flatnonzero(values > values[-1] * 1e-6)[-_WIDTH:] if values[-1] > 0 else np.zeros(0, dtype=np.int64)
        scale = np.sqrt(values[kept].sum()) if len(kept) else 1.0
        return cls(mean.astype(np.float32), (directions[:, kept] / scale).astype(np.float32))

    def project(
        self, item_index: NDArray[np.int32], vectors: NDArray[np.float32], num_items: int
    ) -> NDArray[np.float32]:
        """Return the projected vectors of all items ``(I, T)``; an item without a text vector has zeros.

        Args:
            item_index: ``(M,)`` items that have a text vector.
            vectors: ``(M, D)`` their text vectors.
        """
        table = np.zeros((num_items, self.directions.shape[1]), dtype=np.float32)
        table[item_index] = (vectors - self.mean) @ self.directions
        return table
