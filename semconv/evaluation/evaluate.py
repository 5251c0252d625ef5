"""Rows of the table ``metric`` from leave-one-out ranks (method: Evaluation).

A rank counts from 1, 0 is a miss. Every row states what moves figures as much as a model does: split,
train cut, seen items masked or kept, and in ``protocol`` the wording of the prompt, the seed and the
length of the lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.columns import Seen, Split, TrainCut
from semconv.config import EvaluateSettings
from semconv.errors import InputError
from semconv.metrics import bootstrap_interval, hit_ratio, ndcg, paired_bootstrap

_KS = (1, 5, 10, 20)
_METRICS = {"hit_ratio": hit_ratio, "ndcg": ndcg}
# Bounds of the history-length segments; the last one is open.
_HISTORY_STARTS = (1, 5, 10, 20)


@dataclass(frozen=True)
class EvaluationProtocol:
    """How lists were made and scored.

    Attributes:
        split: which target is held out, ``valid`` or ``test``.
        train_cut: what of each sequence trained the model.
        seen: whether items of the history were left out of the lists.
        list_length: K; a k above it is not reported.
        details: what else a reader must know: wording of the prompt, seed, candidates, beams.
    """

    split: Split
    train_cut: TrainCut
    seen: Seen
    list_length: int
    details: Mapping[str, Any] = field(default_factory=dict)


def sample_users(users: NDArray[np.int32], settings: EvaluateSettings) -> NDArray[np.int32]:
    """A fixed sample of ``max_users`` users in their order, all when it is 0 or larger than their number."""
    if not 0 < settings.max_users < len(users):
        return users
    chosen = np.random.default_rng(settings.seed).choice(len(users), settings.max_users, replace=False)
    return users[np.sort(chosen)]


def segments(history_lengths: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Names and ``(U,)`` masks of all users and of those with like history lengths; empty ones are left out."""
    if len(history_lengths):
        yield "all", np.ones(len(history_lengths), dtype=bool)
    for low, high in zip(_HISTORY_STARTS, (*_HISTORY_STARTS[1:], None), strict=True):
        inside = (history_lengths >= low) & (high is None or history_lengths < high)
        if inside.any():
            yield (f"history {low}+" if high is None else f"history {low}-{high - 1}"), inside


def metric_rows(
    method: str,
    ranks: NDArray[np.int64],
    history_lengths: NDArray[np.int64],
    protocol: EvaluationProtocol,
    settings: EvaluateSettings,
) -> list[dict[str, Any]]:
    """Hit ratio and NDCG of one method, over all users and by history length.

    Args:
        method: value of the column ``method``.
        ranks: ``(U,)`` of the evaluated users, 0 for a miss.
        history_lengths: ``(U,)`` items of each user's history before it is cut for the prompt.
        protocol: how the lists were made.
        settings: bootstrap.

    Returns:
        rows of the table ``metric`` without ``run_id``; ``protocol`` is a plain dictionary. Empty without users.

    Raises:
        InputError: the split has no target, or shapes disagree.
    """
    if protocol.split == "serve":
        raise InputError("lists of the split serve have no held-out item; only valid and test can be evaluated")
    if ranks.shape != history_lengths.shape:
        raise InputError(f"{len(ranks)} ranks for {len(history_lengths)} users")
    shared = {"method": method, "split": protocol.split, "train_cut": protocol.train_cut, "seen": protocol.seen}
    details = {"list_length": protocol.list_length, "bootstrap_seed": settings.seed, **protocol.details}
    rows: list[dict[str, Any]] = []
    for segment, inside in segments(history_lengths):
        for name, k, values in _values(ranks[inside], protocol.list_length):
            low, high = bootstrap_interval(
                values, samples=settings.bootstrap_samples, confidence=settings.confidence, seed=settings.seed
            )
            figures = {"name": name, "k": k, "value": float(values.mean()), "ci_low": low, "ci_high": high}
            rows.append({**shared, "segment": segment, **figures, "num_users": int(inside.sum()), "protocol": details})
    return rows


def compare(
    ours: NDArray[np.int64], theirs: NDArray[np.int64], list_length: int, settings: EvaluateSettings
) -> list[dict[str, Any]]:
    """Differences ours - theirs over the same users with paired bootstrap intervals.

    Args:
        ours, theirs: ``(U,)`` ranks, row by row of the same user.
        list_length: the shorter of the two lists.
        settings: bootstrap.

    Returns:
        rows of name, k, ours, theirs, difference, ci_low, ci_high, num_users.

    Raises:
        InputError: different numbers of users, or none.
    """
    if ours.shape != theirs.shape or len(ours) == 0:
        raise InputError(f"cannot pair {len(ours)} users with {len(theirs)}: both runs must rank the same users")
    rows: list[dict[str, Any]] = []
    for (name, k, mine), (_, _, other) in zip(_values(ours, list_length), _values(theirs, list_length), strict=True):
        difference, low, high = paired_bootstrap(
            mine, other, samples=settings.bootstrap_samples, confidence=settings.confidence, seed=settings.seed
        )
        figures = {"ours": float(mine.mean()), "theirs": float(other.mean()), "difference": difference}
        rows.append({"name": name, "k": k, **figures, "ci_low": low, "ci_high": high, "num_users": len(ours)})
    return rows


def _values(ranks: NDArray[np.int64], list_length: int) -> Iterator[tuple[str, int, NDArray[np.float64]]]:
    """Every figure that lists of this length support, per user."""
    for name, metric in _METRICS.items():
        for k in _KS:
            if k <= list_length:
                yield name, k, metric(ranks, k)
