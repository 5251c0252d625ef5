"""Hit ratio, NDCG and bootstrap intervals of leave-one-out ranks.

One target a user, so hit ratio equals recall and NDCG = 1 / log2(rank + 1) (method: Evaluation).
Every metric comes per user; the figure is its mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def target_ranks(items: NDArray[np.int32], targets: NDArray[np.int32]) -> NDArray[np.int64]:
    """Rank from 1 of each target in its user's list, 0 for a miss.

    Args:
        items: ``(U, K)`` item_index in rank order, -1 where a list is shorter.
        targets: ``(U,)`` item_index.
    """
    hit = (items == targets[:, None]) & (targets[:, None] >= 0)  # (U, K)
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0).astype(np.int64)


def hit_ratio(ranks: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 where the target is among the first ``k``, ``(U,)``."""
    return ((ranks > 0) & (ranks <= k)).astype(np.float64)


def ndcg(ranks: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """1 / log2(rank + 1) where the target is among the first ``k``, else 0, ``(U,)``."""
    inside = (ranks > 0) & (ranks <= k)
    return np.where(inside, 1.0 / np.log2(np.where(inside, ranks, 1) + 1.0), 0.0)


def bootstrap_interval(
    values: NDArray[np.float64], *, samples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Percentile interval of the mean of ``values`` ``(U,)`` over users drawn with replacement.

    Exact in distribution and cheap for rank metrics: equal values are drawn as one multinomial, so
    the cost is in the number of distinct values, not of users.
    """
    if len(values) == 0:
        return float("nan"), float("nan")
    distinct, counts = np.unique(values, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(
        len(values), counts / len(values), size=samples
    )  # (samples, distinct)
    means = draws @ distinct / len(values)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def paired_bootstrap(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], *, samples: int, confidence: float, seed: int
) -> tuple[float, float, float]:
    """Mean difference ours - theirs over the same users and its percentile interval."""
    difference = ours - theirs
    low, high = bootstrap_interval(difference, samples=samples, confidence=confidence, seed=seed)
    return float(difference.mean()), low, high
