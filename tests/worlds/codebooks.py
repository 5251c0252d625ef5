"""Vectors and texts in clusters, and a catalogue in which text decides behaviour up to noise."""

from itertools import product

import numpy as np

from semconv.behavior.vectors import BehaviorVectors, normalize
from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.fit import fit_code_set

SMALL = CodebookSettings(levels=3, codes=8, alignment=0.0, iterations=12)
DISTANCES = list(product(("l2", "cosine"), ("l2", "cosine")))
SETTINGS = CodebookSettings(levels=3, codes=16, alignment=0.1)
ITEMS, NEW = 400, 60


def blobs(rows: int, width: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((12, width))[rng.integers(12, size=rows)] + 0.4 * rng.standard_normal((rows, width))
    points -= points.mean(axis=0)
    return (points / np.linalg.norm(points, axis=1).mean()).astype(np.float32)


def texts(vectors: np.ndarray, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.5 * vectors + 0.3 * rng.standard_normal(vectors.shape)).astype(np.float32)


class Case:
    """A catalogue in which text determines behaviour up to noise; the last items have no interactions."""

    def __init__(self, noise: float = 0.1, is_text_noise: bool = False) -> None:
        rng = np.random.default_rng(0)
        factors = rng.standard_normal((20, 6))[rng.integers(20, size=ITEMS + NEW)] + 0.2 * rng.standard_normal(
            (ITEMS + NEW, 6)
        )
        self.text = (factors @ rng.standard_normal((6, 30))).astype(np.float32)
        if is_text_noise:
            self.text = rng.standard_normal((ITEMS + NEW, 30)).astype(np.float32)
        behavior = factors + noise * rng.standard_normal(factors.shape)
        self.true_vectors = behavior
        # item_index differs from the row: the first is 10, and every second number is unused.
        self.index = (10 + 2 * np.arange(ITEMS + NEW)).astype(np.int32)
        self.vectors: BehaviorVectors = normalize(
            self.index[:ITEMS], behavior[:ITEMS], np.zeros(0), np.zeros((0, 6)), "learned"
        )
        self.popularity = rng.integers(1, 50, size=10 + 2 * (ITEMS + NEW))

    def fit(self, settings: CodebookSettings = SETTINGS, texts: slice = slice(None)) -> CodeSet:
        return fit_code_set(self.vectors, self.index[texts], self.text[texts], self.popularity, settings)
