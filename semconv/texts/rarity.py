"""Weights of words and tokens by rarity: the inverse document frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rarities(num_texts_with: NDArray[np.integer], num_texts: int) -> NDArray[np.float64]:
    """Return 1 + log((1 + T) / (1 + t)) for each word, where t of T texts have the word.

    A word of no text has the largest weight, and a word of every text has the weight 1 (Salton & Buckley 1988, with one
    text added that has every word).
    """
    weights: NDArray[np.float64] = 1.0 + np.log((1.0 + num_texts) / (1.0 + num_texts_with))
    return weights
