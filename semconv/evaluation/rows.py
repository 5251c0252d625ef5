"""Rows of the table ``metric``, and paired comparisons of two methods (docs/method.md, Evaluation).

Ranks count from 1; rank 0 means that the held-out item is not in the list. Metrics depend on the protocol as much as on
the model. So every row states the split, the train cut and whether seen items were masked. The column ``protocol`` also
contains the wording of the prompt, the seed and the length of the lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.columns import Seen, Split
from semconv.errors import InputError
from semconv.evaluation.segments import ALL, EvaluatedUsers, segments
from semconv.metrics import bootstrap_interval, hit_ratio, ndcg, paired_bootstrap, reciprocal_rank
from semconv.settings.evaluate import EvaluateSettings

Floats = NDArray[np.float64]

CUTOFFS = (1, 5, 10, 20)
_AT_CUTOFFS = {"hit_ratio": hit_ratio, "ndcg": ndcg}


@dataclass(frozen=True)
class EvaluationProtocol:
    """The conditions under which lists were made and measured.

    Attributes:
        split: ``valid`` or ``test``: the held-out item of each user.
        train_cut: the part of each sequence that trained the model, or the time before which interactions trained it.
        seen: whether items of the history were masked in the lists.
        list_length: length K of the lists. Figures at a k above K are not reported.
        details: further conditions: wording of the prompt, seed, candidates, beams.
    """

    split: Split
    train_cut: str
    seen: Seen
    list_length: int
    details: Mapping[str, Any] = field(default_factory=dict)

    def with_details(self, details: Mapping[str, Any]) -> EvaluationProtocol:
        """Return the same protocol with further details of one method."""
        return replace(self, details={**self.details, **details})

    def columns(self, settings: EvaluateSettings, **more: Any) -> dict[str, Any]:
        """Return the columns of the table ``metric`` that say how a figure was measured; ``more`` are further details."""
        details = {"list_length": self.list_length, "bootstrap_seed": settings.seed, **self.details, **more}
        return {"split": self.split, "train_cut": self.train_cut, "seen": self.seen, "protocol": details}


@dataclass(frozen=True)
class ListFigures:
    """Figures of one method's lists for each user.

    Attributes:
        ranks: ``(U,)`` rank of each held-out item, 0 for a miss.
        novelty: ``(U,)`` bits, NaN for an empty list.
        diversity: ``(U,)`` 0 to 1, NaN if fewer than two items have codes.
        fallback_share: ``(U,)`` share of the list that the fallback filled, NaN for an empty list.
        coverage: share of the candidates that are in at least one list.
    """

    ranks: NDArray[np.int64]
    novelty: Floats
    diversity: Floats
    fallback_share: Floats
    coverage: float

    def of_lists(self, inside: NDArray[np.bool_]) -> Iterator[tuple[str, Floats]]:
        """Yield the names novelty, diversity and fallback share, each with its values for the users in ``inside``."""
        for name in ("novelty", "diversity", "fallback_share"):
            values: Floats = getattr(self, name)[inside]
            yield name, values[~np.isnan(values)]


def metric_rows(
    method: str,
    figures: ListFigures,
    users: EvaluatedUsers,
    protocol: EvaluationProtocol,
    settings: EvaluateSettings,
) -> list[dict[str, Any]]:
    """Compute every figure of one method, over all users and for each segment of users.

    Figures that describe whole lists have the list length as their k. Coverage is one figure for all lists together.
    Coverage has no bootstrap interval: the lists of resampled users contain fewer different items than all lists, so
    the interval would lie below the figure.

    Args:
        method: value of the column ``method``.
        figures: of the evaluated users.
        users: the same users in the same order.
        protocol: how the lists were made.
        settings: of the bootstrap.

    Returns:
        rows of the table ``metric`` without ``run_id``; ``protocol`` is a plain dictionary. There are no rows if there
        are no users.

    Raises:
        InputError: the split has no held-out item, or there are more or fewer ranks than users.
    """
    if protocol.split == "serve":
        raise InputError("lists of the split serve have no held-out item; evaluate lists of the split valid or test")
    if len(figures.ranks) != len(users):
        raise InputError(
            f"there are {len(figures.ranks)} ranks for {len(users)} users; every evaluated user needs one rank"
        )
    shared = {"method": method, **protocol.columns(settings)}
    rows: list[dict[str, Any]] = []
    for segment, inside in segments(users):
        own = {**shared, "segment": segment}
        for name, k, values in _values(figures, inside, protocol.list_length):
            low, high = bootstrap_interval(values, **settings.bootstrap())
            figure = {"name": name, "k": k, "value": float(values.mean()), "ci_low": low, "ci_high": high}
            rows.append({**own, **figure, "num_users": len(values)})
        if segment == ALL and not np.isnan(figures.coverage):
            figure = {"name": "coverage", "k": protocol.list_length, "value": figures.coverage}
            rows.append({**own, **figure, "ci_low": None, "ci_high": None, "num_users": len(users)})
    return rows


def compare(
    ours: NDArray[np.int64], theirs: NDArray[np.int64], list_length: int, settings: EvaluateSettings
) -> list[dict[str, Any]]:
    """Compute the differences ours - theirs of each metric over the same users, with paired bootstrap intervals.

    Args:
        ours, theirs: ``(U,)`` ranks of the same users in the same order.
        list_length: length of the shorter lists.
        settings: of the bootstrap.

    Returns:
        rows with ``name``, ``k``, ``ours``, ``theirs``, ``difference``, ``ci_low``, ``ci_high``, ``num_users``.

    Raises:
        InputError: there are no users, or both arrays have different lengths.
    """
    if ours.shape != theirs.shape or len(ours) == 0:
        raise InputError(f"cannot pair {len(ours)} users with {len(theirs)}; both runs must rank the same users")
    rows: list[dict[str, Any]] = []
    pairs = zip(_rank_values(ours, list_length), _rank_values(theirs, list_length), strict=True)
    for (name, k, mine), (_, _, other) in pairs:
        difference, low, high = paired_bootstrap(mine, other, **settings.bootstrap())
        figures = {"ours": float(mine.mean()), "theirs": float(other.mean()), "difference": difference}
        rows.append({"name": name, "k": k, **figures, "ci_low": low, "ci_high": high, "num_users": len(ours)})
    return rows


def difference_row(compared: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a row of ``compare`` with the columns of a figure in the table ``metric``."""
    kept = {key: compared[key] for key in ("k", "ci_low", "ci_high", "num_users")}
    return {"name": name, "value": compared["difference"], **kept}


def _values(figures: ListFigures, inside: NDArray[np.bool_], list_length: int) -> Iterator[tuple[str, int, Floats]]:
    """Yield the name, the k and the values ``(U,)`` of every figure. Figures without any value are left out."""
    yield from _rank_values(figures.ranks[inside], list_length)
    yield from ((name, list_length, values) for name, values in figures.of_lists(inside) if len(values))


def _rank_values(ranks: NDArray[np.int64], list_length: int) -> Iterator[tuple[str, int, Floats]]:
    for name, metric in _AT_CUTOFFS.items():
        for k in CUTOFFS:
            if k <= list_length:
                yield name, k, metric(ranks, k)
    yield "mrr", list_length, reciprocal_rank(ranks, list_length)
