"""What the model adds to the blend: the blend less the blend without a model, which has a fit and candidates of its own.

The figures ``hit_ratio_gain`` and ``ndcg_gain`` of the method ``blend`` are paired differences over users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.columns import BLENDS, METHOD_BLEND, METHOD_WITHOUT_MODEL
from semconv.evaluation.rows import EvaluationProtocol, compare, difference_row
from semconv.evaluation.segments import EvaluatedUsers, segments
from semconv.settings.evaluate import EvaluateSettings

COMPARED: Final = BLENDS
GAIN_SUFFIX: Final = "_gain"
_METRICS: Final = ("hit_ratio", "ndcg")


def gain_rows(
    ranks: Mapping[str, NDArray[np.int64]],
    users: EvaluatedUsers,
    protocol: EvaluationProtocol,
    settings: EvaluateSettings,
) -> list[dict[str, Any]]:
    """Return rows of the table ``metric`` with what the model adds, over all users and for each segment of users.

    Args:
        ranks: ``(U,)`` ranks of the held-out items by both methods of ``COMPARED``.
        users: the same users in the same order.
    """
    shared = {"method": METHOD_BLEND, **protocol.columns(settings, less=METHOD_WITHOUT_MODEL)}
    rows = []
    for segment, inside in segments(users):
        ours, theirs = (ranks[method][inside] for method in COMPARED)
        rows += [
            {**shared, "segment": segment, **difference_row(row, row["name"] + GAIN_SUFFIX)}
            for row in compare(ours, theirs, protocol.list_length, settings)
            if row["name"] in _METRICS
        ]
    return rows


def gain_in_words(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return sentences that say what the model adds to NDCG; empty if the rows do not compare both methods.

    Args:
        rows: rows of the table ``metric`` of one evaluate run.
    """
    of_all = {(row["method"], row["name"], row["k"]): row for row in rows if row["segment"] == "all"}
    lengths = [k for method, name, k in of_all if (method, name) == (METHOD_BLEND, "ndcg" + GAIN_SUFFIX) and k <= 10]
    if not lengths:
        return ""
    k = max(lengths)
    gain = of_all[METHOD_BLEND, "ndcg" + GAIN_SUFFIX, k]
    ours, theirs = (of_all[method, "ndcg", k]["value"] for method in COMPARED)
    return difference_in_words(k, {**gain, "ours": ours, "theirs": theirs, "difference": gain["value"]})


def difference_in_words(k: int, row: Mapping[str, Any]) -> str:
    """Return sentences that say what the model adds to NDCG@k.

    Args:
        row: the values ``ours`` of the blend, ``theirs`` of the blend without a model, ``difference``, ``ci_low`` and
            ``ci_high``.
    """
    values = f"NDCG@{k} of the blend is {row['ours']:.4f} with the model and {row['theirs']:.4f} without it"
    interval = f"{row['difference']:+.4f} ({row['ci_low']:+.4f} to {row['ci_high']:+.4f})"
    if row["ci_low"] > 0:
        return f"{values}: the model adds {interval}."
    if row["ci_high"] < 0:
        return f"{values}: the model makes the blend worse by {interval}. Switch it off with blend.model = false."
    return (
        f"{values}, a difference of {interval} that may be chance. The model could be switched off without a loss that"
        " these users show: blend.model = false."
    )
