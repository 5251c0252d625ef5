"""The vectors that the benchmarks of the codes run on: those of Games if the data is on this machine, or drawn ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.data import games_sequences
from semconv.behavior.svd import fit_svd
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.core import train_part
from semconv.settings.behavior import BehaviorSettings

WIDTH = 32
CORE = 5  # fewest interactions of a user or item of Games, as in the paper


def games_behavior() -> tuple[BehaviorVectors, NDArray[np.int64], list[str]] | None:
    """Return behaviour vectors of Games, the interactions of each item and the item ids; None without the data.

    All come from the train cut.
    """
    games = games_sequences()
    if games is None:
        return None
    sequences, ids = games
    train = train_part(sequences, "[:-2]", CORE, len(ids))
    popularity = np.bincount(train.items, minlength=len(ids)).astype(np.int64)
    return fit_svd(train, len(ids), BehaviorSettings(dimensions=WIDTH)), popularity, ids


def drawn_vectors(num_items: int) -> NDArray[np.float32]:
    """Draw vectors shaped like behaviour vectors: clusters of unequal size and spread, centred, with mean norm 1."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((500, WIDTH))
    weights = rng.pareto(1.2, 500) + 0.1
    chosen = rng.choice(500, num_items, p=weights / weights.sum())
    points = centres[chosen] + rng.standard_normal((num_items, WIDTH)) * rng.gamma(2.0, 0.2, (num_items, 1))
    points -= points.mean(axis=0)
    scaled: NDArray[np.float32] = (points / np.linalg.norm(points, axis=1).mean()).astype(np.float32)
    return scaled


def drawn_texts(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Draw text targets that explain half of the vectors' variance."""
    noise = np.random.default_rng(1).standard_normal(points.shape) * points.std(axis=0)
    texts: NDArray[np.float32] = (points / 2 + noise / 2).astype(np.float32)
    return texts


def many_vectors(num_items: int) -> NDArray[np.float32]:
    """Draw vectors block by block and in float32, so that ten million of them fit into memory beside the measured code."""
    rng = np.random.default_rng(3)
    base = drawn_vectors(100_000)
    points = np.empty((num_items, WIDTH), dtype=np.float32)
    for start in range(0, num_items, len(base)):
        block = points[start : start + len(base)]
        block[:] = base[: len(block)]
        block += 0.05 * rng.standard_normal(block.shape, dtype=np.float32)
    return points
