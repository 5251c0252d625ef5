"""Rows of the table ``metric`` for questions in words: figures of each way to answer, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.columns import (
    QUESTION_BM25,
    QUESTION_FUSED,
    QUESTION_FUSED_USER,
    QUESTION_MODEL,
    QUESTION_POPULARITY,
    QUESTION_TEXT,
    QUESTIONS,
)
from semconv.evaluation.rows import EvaluationProtocol, compare, difference_row
from semconv.metrics import bootstrap_interval, hit_ratio, ndcg
from semconv.settings.evaluate import EvaluateSettings

LIST_LENGTH: Final = 10
QUESTION_METHODS: Final = (
    QUESTION_FUSED_USER,
    QUESTION_FUSED,
    QUESTION_TEXT,
    QUESTION_BM25,
    QUESTION_MODEL,
    QUESTION_POPULARITY,
)
_CUTOFFS: Final = (1, 5, 10)
_COMPARED: Final = (
    (QUESTION_FUSED, QUESTION_BM25),
    (QUESTION_FUSED, QUESTION_POPULARITY),
    (QUESTION_FUSED, QUESTION_MODEL),
    (QUESTION_FUSED_USER, QUESTION_FUSED),
)


def question_rows(
    ranks: Mapping[str, NDArray[np.int64]], protocol: EvaluationProtocol, settings: EvaluateSettings
) -> list[dict[str, Any]]:
    """Return rows of the table ``metric`` without ``run_id``. The name of a difference ends with ``_over_`` and the peer.

    Args:
        ranks: for each way to answer ``(B,)`` the rank of the item that answers each held-out query, 0 for a miss.
    """
    shared = {"segment": QUESTIONS, **protocol.columns(settings)}
    rows: list[dict[str, Any]] = []
    for method in (name for name in QUESTION_METHODS if name in ranks):
        for name, metric in (("hit_ratio", hit_ratio), ("ndcg", ndcg)):
            for k in _CUTOFFS:
                values = metric(ranks[method], k)
                low, high = bootstrap_interval(values, **settings.bootstrap())
                figure = {"name": name, "k": k, "value": float(values.mean()), "ci_low": low, "ci_high": high}
                rows.append({"method": method, **figure, "num_users": len(values), **shared})
    for ours, theirs in _COMPARED:
        if ours in ranks and theirs in ranks:
            rows += [
                {"method": ours, **shared, **difference_row(row, f"{row['name']}_over_{theirs}")}
                for row in compare(ranks[ours], ranks[theirs], protocol.list_length, settings)
                if row["k"] in _CUTOFFS and row["name"] != "mrr"
            ]
    return rows
