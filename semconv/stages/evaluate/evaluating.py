"""Figures as a run: the model beside the baselines, the same users, the same items, the same mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from semconv import columns
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.evaluation.methods import compared_names
from semconv.evaluation.rows import ListFigures, metric_rows
from semconv.metrics import coverage, diversity, novelty, self_information, target_ranks
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.workspace import Context
from semconv.stages.evaluate.case import EvaluationCase
from semconv.stages.evaluate.counter_search import tune_transition_run
from semconv.stages.evaluate.rankings import Ranking, listed_methods, rankings
from semconv.stages.evaluate.user_file import user_file


def evaluate_run(context: Context, recommend: RunRecord) -> Outcome:
    """Score a recommend run of the split valid or test, and the baselines with it.

    Raises:
        InputError: the run's lists are for serving, or hold no user with a target.
    """
    if recommend.settings["split"] == "serve":
        raise InputError(
            f"{recommend.run_id} was made for serving and sees the held-out items; `semconv recommend --split test` makes lists to score"
        )
    case = EvaluationCase.read(context, recommend)
    tuned = tune_transition_run(context, case)
    tuning = None if tuned is None else tuned.record

    def compute(folder: Path) -> dict[str, pa.Table]:
        users, protocol = case.evaluated(), case.protocol(context)
        rows: list[dict[str, Any]] = []
        with (
            user_file(folder, case, users) as file,
            context.progress.task("evaluate", len(known), "methods") as bar,
        ):
            for ranking in rankings(context, case, tuning):
                figures = list_figures(case, ranking)
                stated = protocol.with_details(ranking.details)
                rows += metric_rows(ranking.method, figures, users, stated, context.settings.evaluate)
                file.write(ranking.method, figures)
                bar.advance(1, ranking.method)
        return {"metric": _metric_table(rows)}

    own = listed_methods(context, recommend)
    known = compared_names(case.behavior.settings["behavior"]["source"], own, is_tuned=tuning is not None)
    inputs = (case.finetune, recommend, *([] if tuning is None else [tuning]))
    request = StageRequest(
        columns.EVALUATE, context.section("evaluate"), inputs, ("interaction",), {"methods": ",".join(known)}
    )
    return context.book.execute(request, compute)


def list_figures(case: EvaluationCase, ranking: Ranking) -> ListFigures:
    """What one method's lists come to, user by user."""
    items, listed = ranking.items, (ranking.items >= 0).sum(axis=1)
    fallback = np.zeros(len(items)) if ranking.is_fallback is None else ranking.is_fallback.sum(axis=1).astype(float)
    return ListFigures(
        target_ranks(items, case.targets),
        novelty(items, self_information(case.popularity)),
        diversity(items, case.prefixes),
        np.divide(fallback, listed, out=np.full(len(items), np.nan), where=listed > 0),
        coverage(items, case.allowed),
    )


def _metric_table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([{**row, "protocol": json.dumps(row["protocol"], sort_keys=True)} for row in rows])
