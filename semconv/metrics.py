"""Metrics of recommendation lists for each user, and bootstrap intervals of their means over users.

Each user has one target, so hit ratio equals recall, NDCG is 1 / log2(rank + 1), and the mean of 1 / rank is MRR
(docs/method.md, Evaluation). All metrics except coverage have a value for each user. A metric is averaged over the
users for whom it is defined.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Validation scores that differ by less, as a share of the best one, count as equal. The standard error of the paired
# difference between two scorings of Games by one model, with 12,000 validation users, was 0.8 %.
_EQUAL_SHARE = 0.005
_GROUPS = 256  # number of groups of sorted values in a bootstrap over many different values


def is_as_good(score: float, best: float) -> bool:
    """Tell whether a validation score is at most 0.5 % below the best one, so that the two count as equal."""
    return score >= best * (1 - _EQUAL_SHARE)


def target_ranks(items: NDArray[np.int32], targets: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the rank of each target in its user's list, 0 for a miss.

    Args:
        items: ``(U, K)`` item_index in rank order, -1 where a list is shorter.
        targets: ``(U,)`` item_index.
    """
    hit = (items == targets[:, None]) & (targets[:, None] >= 0)  # (U, K)
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0).astype(np.int64)


def hit_ratio(ranks: NDArray[np.int64], k: int) -> Floats:
    """Return 1 where the target is among the first ``k``, else 0, ``(U,)``."""
    return ((ranks > 0) & (ranks <= k)).astype(np.float64)


def ndcg(ranks: NDArray[np.int64], k: int) -> Floats:
    """Return 1 / log2(rank + 1) where the target is among the first ``k``, else 0, ``(U,)``."""
    inside = (ranks > 0) & (ranks <= k)
    return np.where(inside, 1.0 / np.log2(np.where(inside, ranks, 1) + 1.0), 0.0)


def reciprocal_rank(ranks: NDArray[np.int64], k: int) -> Floats:
    """Return 1 / rank where the target is among the first ``k``, else 0, ``(U,)``. The mean over users is MRR@k."""
    inside = (ranks > 0) & (ranks <= k)
    return np.where(inside, 1.0 / np.where(inside, ranks, 1), 0.0)


def self_information(counts: NDArray[np.int64]) -> Floats:
    """Return the self-information of each item in bits, ``(I,)``: -log2 of the item's share of training interactions.

    An item without interactions counts as if it had one interaction; otherwise the value would be infinite. Source: the
    novelty of Zhou et al., PNAS 107 (2010), "Solving the apparent diversity-accuracy dilemma".
    """
    shares: Floats = np.maximum(counts, 1) / max(1, int(counts.sum()))
    return -np.log2(shares)


def novelty(items: NDArray[np.int32], information: Floats) -> Floats:
    """Return the mean self-information of each list in bits, ``(U,)``; NaN for an empty list.

    Args:
        items: ``(U, K)`` item_index, -1 where a list is shorter.
        information: ``(I,)`` of :func:`self_information`.
    """
    is_listed = items >= 0
    bits = np.where(is_listed, information[items], 0.0).sum(axis=1)  # (U,)
    return _divided(bits, is_listed.sum(axis=1))


def diversity(items: NDArray[np.int32], prefixes: NDArray[np.int32]) -> Floats:
    """Return the diversity of the codes within each list, ``(U,)``.

    Diversity is 0 where all items have the same codes, and 1 where no two items share the first code. Two items whose
    codes agree in exactly the first s of N levels have the distance (N - s) / N. The diversity of a list is the mean
    distance of all pairs of listed items that have codes; NaN without such a pair. Source: Ziegler et al., WWW 2005,
    "Improving recommendation lists through topic diversification" (intra-list similarity). Levels of codes take the
    place of the taxonomy in that paper.

    Args:
        items: ``(U, K)`` item_index, -1 where a list is shorter.
        prefixes: ``(N, I)`` of :func:`prefix_ids`; with N = 0, no item has codes.
    """
    shared = np.zeros(len(items), dtype=np.int64)
    for ids in prefixes:
        mine = np.where(items >= 0, ids[items], -1)  # (U, K)
        for lag in range(1, mine.shape[1]):
            left, right = mine[:, lag:], mine[:, :-lag]
            shared += ((left == right) & (left >= 0)).sum(axis=1)
    if not len(prefixes):
        return np.full(len(items), np.nan)
    coded = ((items >= 0) & (prefixes[0][items] >= 0)).sum(axis=1)
    pairs = coded * (coded - 1) // 2
    return 1.0 - _divided(shared.astype(np.float64), pairs * len(prefixes))


def prefix_ids(item_index: NDArray[np.int32], codes: NDArray[np.uint16], num_items: int) -> NDArray[np.int32]:
    """Return an id for each prefix of each item's codes, ``(N, I)``: equal prefixes have equal ids; -1 without codes.

    Args:
        item_index: ``(M,)`` items with codes.
        codes: ``(M, N)``.
    """
    result = np.full((codes.shape[1], num_items), -1, dtype=np.int32)
    before = np.zeros(len(codes), dtype=np.int64)
    for level, column in enumerate(codes.T.astype(np.int64)):
        _, before = np.unique(before * (1 << 16) + column, return_inverse=True)
        result[level, item_index] = before
    return result


def coverage(items: NDArray[np.int32], allowed: NDArray[np.bool_]) -> float:
    """Return the share of the allowed items that are in at least one list; NaN when no item is allowed.

    Args:
        items: ``(U, K)`` item_index, -1 where a list is shorter.
        allowed: ``(I,)`` items that may be listed.
    """
    is_listed = np.zeros(len(allowed), dtype=bool)
    is_listed[items[items >= 0]] = True
    return float((is_listed & allowed).sum() / allowed.sum()) if allowed.any() else float("nan")


def bootstrap_interval(values: Floats, *, samples: int, confidence: float, seed: int) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of ``values`` ``(U,)``; users are drawn with replacement.

    A multinomial draw gives the number of times that each distinct value is drawn. So the cost depends on the number of
    distinct values, not on the number of users. For up to 512 distinct values, which all rank metrics
    have, the result is the same as from drawing users one by one. More distinct values are sorted and split into 256
    groups, and each value counts as the mean of its group.
    """
    if len(values) == 0:
        return float("nan"), float("nan")
    distinct, counts = _grouped(values)
    draws = np.random.default_rng(seed).multinomial(
        len(values), counts / len(values), size=samples
    )  # (samples, distinct)
    means = draws @ distinct / len(values)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def paired_bootstrap(
    ours: Floats, theirs: Floats, *, samples: int, confidence: float, seed: int
) -> tuple[float, float, float]:
    """Return the mean of ``ours - theirs`` over the same users, and its percentile bootstrap interval."""
    difference = ours - theirs
    low, high = bootstrap_interval(difference, samples=samples, confidence=confidence, seed=seed)
    return float(difference.mean()), low, high


def _grouped(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return distinct values and their counts. For many distinct values, return means and sizes of groups of values."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= 2 * _GROUPS:  # Two ranks in lists of 20 make at most 21 * 21 = 441 different pairs.
        return distinct, counts
    starts = np.unique(np.searchsorted(np.cumsum(counts), np.arange(_GROUPS) * len(values) / _GROUPS, side="right"))
    totals = np.add.reduceat(counts, starts)
    return np.add.reduceat(distinct * counts, starts) / totals, totals


def _divided(sums: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return each sum divided by its count, NaN where the count is 0."""
    quotients: Floats = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return quotients
