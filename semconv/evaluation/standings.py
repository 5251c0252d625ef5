"""Compare many methods on the same users: figures by segment, with paired differences from reference methods."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.evaluation.rows import compare
from semconv.evaluation.segments import (
    ALL,
    KNOWN_TRANSITION,
    NEW_TARGET,
    NEW_TRANSITION,
    EvaluatedUsers,
    segments,
)
from semconv.metrics import bootstrap_interval, hit_ratio, ndcg
from semconv.settings.evaluate import EvaluateSettings

SHOWN_SEGMENTS: Final = (ALL, KNOWN_TRANSITION, NEW_TRANSITION, NEW_TARGET)
CUTOFF: Final = 10
_METRICS: Final = {"ndcg@10": ndcg, "hr@10": hit_ratio}
_NAMES: Final = {"ndcg@10": "ndcg", "hr@10": "hit_ratio"}  # in the rows of ``compare``
Ranks = NDArray[np.int64]


def standings(
    ranks: Mapping[str, Ranks], users: EvaluatedUsers, references: Mapping[str, str], settings: EvaluateSettings
) -> list[dict[str, Any]]:
    """Return a row for each method and segment, the segments of a method one after the other.

    Args:
        ranks: name -> ``(U,)`` rank of each held-out item, 0 for a miss.
        users: the same users in the same order.
        references: the methods that the others are compared with, as key -> name of the method.
        settings: of the bootstrap.

    Returns:
        rows with ``method``, ``segment``, ``num_users``, ``ndcg@10`` and ``hr@10`` with ``_low`` and ``_high``, and for
        each reference ``ndcg@10_less_KEY`` and ``hr@10_less_KEY`` with ``_low`` and ``_high``. Differences are None in the
        row of the reference itself.
    """
    shown = {name: inside for name, inside in segments(users) if name in SHOWN_SEGMENTS}
    rows = []
    for method, mine in ranks.items():
        for segment in (name for name in SHOWN_SEGMENTS if name in shown):
            inside = shown[segment]
            row = {
                "method": method,
                "segment": segment,
                "num_users": int(inside.sum()),
                **_figures(mine[inside], settings),
            }
            for key, reference in references.items():
                theirs = None if reference == method else ranks[reference][inside]
                row |= _differences(key, mine[inside], theirs, settings)
            rows.append(row)
    return rows


def strongest(ranks: Mapping[str, Ranks], among: Collection[str]) -> str | None:
    """Return the method with the highest NDCG@10 of those in ``among``, the first one of equals; None if none is there."""
    found = [name for name in ranks if name in among]
    return max(found, key=lambda name: float(ndcg(ranks[name], CUTOFF).mean()), default=None)


def _figures(ranks: Ranks, settings: EvaluateSettings) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, metric in _METRICS.items():
        values = metric(ranks, CUTOFF)
        low, high = bootstrap_interval(values, **settings.bootstrap())
        figures |= {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}
    return figures


def _differences(key: str, ours: Ranks, theirs: Ranks | None, settings: EvaluateSettings) -> dict[str, float | None]:
    """Return the paired differences from a reference; None in the row of the reference itself."""
    found = {} if theirs is None else {(row["name"], row["k"]): row for row in compare(ours, theirs, CUTOFF, settings)}
    values: dict[str, float | None] = {}
    for name, metric in _NAMES.items():
        row = found.get((metric, CUTOFF), {})
        for end, column in (("", "difference"), ("_low", "ci_low"), ("_high", "ci_high")):
            values[f"{name}_less_{key}{end}"] = row.get(column)
    return values
