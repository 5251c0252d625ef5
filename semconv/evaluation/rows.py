"""Rows of the table ``metric`` from ranks and lists, and paired comparisons (method: Evaluation).

A rank counts from 1, 0 is a miss. Every row states what moves figures as much as a model does: split,
train cut, seen items masked or kept, and in ``protocol`` the wording of the prompt, the seed and the
length of the lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.columns import Seen, Split
from semconv.errors import InputError
from semconv.evaluation.segments import ALL, Evaluated, segments
from semconv.metrics import bootstrap_interval, hit_ratio, ndcg, paired_bootstrap, reciprocal_rank
from semconv.settings.evaluate import EvaluateSettings

Floats = NDArray[np.float64]

CUTOFFS = (1, 5, 10, 20)
_AT_CUTOFFS = {"hit_ratio": hit_ratio, "ndcg": ndcg}


@dataclass(frozen=True)
class EvaluationProtocol:
    """How lists were made and scored.

    Attributes:
        split: which target is held out, ``valid`` or ``test``.
        train_cut: what of each sequence trained the model, or the moment before which everything did.
        seen: whether items of the history were left out of the lists.
        list_length: K; a k above it is not reported.
        details: what else a reader must know: wording of the prompt, seed, candidates, beams.
    """

    split: Split
    train_cut: str
    seen: Seen
    list_length: int
    details: Mapping[str, Any] = field(default_factory=dict)

    def with_details(self, details: Mapping[str, Any]) -> EvaluationProtocol:
        """The same with what is one method's own."""
        return replace(self, details={**self.details, **details})


@dataclass(frozen=True)
class ListFigures:
    """What one method's lists come to, user by user.

    Attributes:
        ranks: ``(U,)`` rank of each target, 0 for a miss.
        novelty: ``(U,)`` bits, NaN for an empty list.
        diversity: ``(U,)`` 0 to 1, NaN where no two items have codes.
        fallback_share: ``(U,)`` share of the list that is not the method's own, NaN for an empty list.
        coverage: share of the candidates that some list holds.
    """

    ranks: NDArray[np.int64]
    novelty: Floats
    diversity: Floats
    fallback_share: Floats
    coverage: float

    def of(self, inside: NDArray[np.bool_]) -> Iterator[tuple[str, Floats]]:
        """Names and values of the figures of whole lists, of some users, of those users who have a value."""
        for name in ("novelty", "diversity", "fallback_share"):
            values: Floats = getattr(self, name)[inside]
            yield name, values[~np.isnan(values)]


def metric_rows(
    method: str,
    figures: ListFigures,
    users: Evaluated,
    protocol: EvaluationProtocol,
    settings: EvaluateSettings,
) -> list[dict[str, Any]]:
    """Every figure of one method, over all users and by segment.

    Figures of whole lists have the list's length as their k. Coverage is of all lists together: it has no interval,
    because a resample of the users lists fewer different items than the users do, so its percentiles would lie below it.

    Args:
        method: value of the column ``method``.
        figures: of the evaluated users.
        users: the same users, row by row.
        protocol: how the lists were made.
        settings: bootstrap.

    Returns:
        rows of the table ``metric`` without ``run_id``; ``protocol`` is a plain dictionary. Empty without users.

    Raises:
        InputError: the split has no target, or shapes disagree.
    """
    if protocol.split == "serve":
        raise InputError("lists of the split serve have no held-out item; only valid and test can be evaluated")
    if len(figures.ranks) != len(users):
        raise InputError(f"{len(figures.ranks)} ranks for {len(users)} users")
    shared = {"method": method, "split": protocol.split, "train_cut": protocol.train_cut, "seen": protocol.seen}
    details = {"list_length": protocol.list_length, "bootstrap_seed": settings.seed, **protocol.details}
    rows: list[dict[str, Any]] = []
    for segment, inside in segments(users):
        own = {**shared, "segment": segment}
        for name, k, values in _values(figures, inside, protocol.list_length):
            low, high = bootstrap_interval(values, **_bootstrap(settings))
            found = {"name": name, "k": k, "value": float(values.mean()), "ci_low": low, "ci_high": high}
            rows.append({**own, **found, "num_users": len(values), "protocol": details})
        if segment == ALL and not np.isnan(figures.coverage):
            found = {"name": "coverage", "k": protocol.list_length, "value": figures.coverage}
            rows.append({**own, **found, "ci_low": None, "ci_high": None, "num_users": len(users), "protocol": details})
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
    pairs = zip(_rank_values(ours, list_length), _rank_values(theirs, list_length), strict=True)
    for (name, k, mine), (_, _, other) in pairs:
        difference, low, high = paired_bootstrap(mine, other, **_bootstrap(settings))
        figures = {"ours": float(mine.mean()), "theirs": float(other.mean()), "difference": difference}
        rows.append({"name": name, "k": k, **figures, "ci_low": low, "ci_high": high, "num_users": len(ours)})
    return rows


def _values(figures: ListFigures, inside: NDArray[np.bool_], list_length: int) -> Iterator[tuple[str, int, Floats]]:
    """Every figure that lists of this length support, per user; those that no user has are left out."""
    yield from _rank_values(figures.ranks[inside], list_length)
    yield from ((name, list_length, values) for name, values in figures.of(inside) if len(values))


def _rank_values(ranks: NDArray[np.int64], list_length: int) -> Iterator[tuple[str, int, Floats]]:
    for name, metric in _AT_CUTOFFS.items():
        for k in CUTOFFS:
            if k <= list_length:
                yield name, k, metric(ranks, k)
    yield "mrr", list_length, reciprocal_rank(ranks, list_length)


def _bootstrap(settings: EvaluateSettings) -> dict[str, Any]:
    return {"samples": settings.bootstrap_samples, "confidence": settings.confidence, "seed": settings.seed}
