"""Text vectors of items, and their similarity to the text vectors of questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.backbone.text_vectors import TextVectors
from semconv.blend.tables import unit_vectors


@dataclass(frozen=True)
class QuestionVectors:
    """Compares questions with items by their text vectors, less the mean vector of all items.

    Attributes:
        items: ``(I, D)`` vectors of length 1; zeros for items without a text vector.
        mean: ``(D,)`` mean text vector of the items.
        embed: returns the text vectors of texts; texts without tokens have none.
    """

    items: NDArray[np.float32]
    mean: NDArray[np.float32]
    embed: Callable[[Sequence[str]], TextVectors]

    @classmethod
    def of(
        cls, texts: TextVectors, num_items: int, embed: Callable[[Sequence[str]], TextVectors]
    ) -> QuestionVectors | None:
        """Return the comparison with some text vectors of I items; None if no item has one."""
        known = texts.item_index < num_items
        if not known.any():
            return None
        mean = texts.vectors.mean(axis=0)
        return cls(unit_vectors(texts.item_index[known], texts.vectors[known] - mean, num_items), mean, embed)

    def similarities(self, questions: Sequence[str]) -> NDArray[np.float32]:
        """Return the cosine of each of B questions and each item, ``(B, I)``; NaN if one of the two has no vector."""
        found = self.embed(questions)
        asked = unit_vectors(found.item_index, found.vectors - self.mean, len(questions))
        cosines: NDArray[np.float32] = asked @ self.items.T
        cosines[:, ~self.items.any(axis=1)] = np.nan
        cosines[~asked.any(axis=1)] = np.nan
        return cosines
