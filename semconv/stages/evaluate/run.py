"""The stage that evaluates: score the model and the baselines on the same users, candidate items and masked items."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.evaluation.gain import COMPARED, gain_rows
from semconv.evaluation.methods import compared_names
from semconv.evaluation.rows import ListFigures, metric_rows
from semconv.metrics import coverage, diversity, novelty, self_information, target_ranks
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.agreement import leak, require_held_out
from semconv.stages.evaluate.case import EvaluationCase, evaluated_users
from semconv.stages.evaluate.counter_search import tune_transition_run
from semconv.stages.evaluate.rankings import Ranking, listed_methods, methods_for_new, rankings
from semconv.stages.evaluate.user_file import user_file
from semconv.stages.held_out import held_out_items, why_past_cut
from semconv.stages.lists.job import Request
from semconv.stages.lists.run import recommend_run


def evaluate_current(workspace: Workspace, lineage: Lineage, split: Literal["valid", "test"] = "test") -> Outcome:
    """Make the lists of a model for a split and score these lists. Reuse finished runs if nothing changed.

    Args:
        lineage: the current lineage of the model, or of the blend without a model.
    """
    users = None
    if workspace.settings.evaluate.max_users:
        users = evaluated_users(workspace, lineage, split)[1]
    lists = recommend_run(workspace, lineage, Request(split, users))
    outcome = evaluate_run(workspace, lists.record)
    return Outcome(outcome.record, outcome.is_reused, lists.seconds + outcome.seconds)


def why_no_evaluation(workspace: Workspace, lineage: Lineage) -> str | None:
    """Return why the model of a lineage cannot be evaluated on the split test; None if it can."""
    sequences = workspace.sequences(split=lineage.split)
    why = leak("test", lineage.runs) or why_past_cut(workspace, lineage.runs, sequences, "test")
    if why is not None:
        return why
    held_out, _ = held_out_items(workspace, lineage.runs, sequences, "test")
    return None if (held_out >= 0).any() else "no user has the three interactions that an evaluation needs"


def evaluations_of(workspace: Workspace, lists: RunRecord) -> list[RunRecord]:
    """Return the newest evaluate run of the model that made the lists ``lists``; empty if there is none."""
    models = set(lists.inputs)
    return next(([run] for run in workspace.book.finished(columns.EVALUATE) if models & set(run.inputs)), [])


def evaluate_run(workspace: Workspace, recommend: RunRecord) -> Outcome:
    """Score the lists of a recommend run on the split valid or test, and the lists of the baselines.

    Raises:
        InputError: the lists are for serving, or no user has a held-out item.
        SettingsError: the model was trained on the held-out items.
    """
    if recommend.settings["split"] == "serve":
        raise InputError(
            f"{recommend.run_id} cannot be scored: its lists were made for serving, from histories that include the"
            " held-out items; make lists to score with `semconv recommend --split test`"
        )
    lineage = Lineage.of(workspace.store, recommend)
    require_held_out(recommend.settings["split"], lineage)
    case = EvaluationCase.read(workspace, lineage)
    if warning := case.reach.warning():
        workspace.progress.say(warning)
    tuned = tune_transition_run(workspace, case)
    tuning = None if tuned is None else tuned.record

    def compute(folder: Path) -> dict[str, pa.Table]:
        return score_rankings(workspace, case, folder, rankings(workspace, case, tuning), len(known))

    own = listed_methods(workspace, recommend)
    source = case.lineage.behavior.settings["behavior"]["source"]
    known = compared_names(source, own, is_tuned=tuning is not None, for_new=methods_for_new(case))
    inputs = (case.lineage.ranker, recommend, *([] if tuning is None else [tuning]))
    parameters = json.dumps(workspace.section("counter", "smoothed"), sort_keys=True)  # of the SQL baselines
    content = {"methods": ",".join(known), "parameters": parameters}
    request = StageRequest(columns.EVALUATE, workspace.section("evaluate"), inputs, ("interaction",), content)
    return workspace.book.execute(request, compute)


def score_rankings(
    workspace: Workspace, case: EvaluationCase, folder: Path, made: Iterable[Ranking], count: int
) -> dict[str, pa.Table]:
    """Score the lists of some methods. Write the figures of each user into a run's folder; return rows of ``metric``.

    Args:
        count: number of methods.
    """
    users, protocol = case.evaluated(), case.protocol(workspace)
    rows: list[dict[str, Any]] = []
    ranks: dict[str, NDArray[np.int64]] = {}  # of the two methods that show what the model adds
    with user_file(folder, case, users) as file, workspace.progress.task("evaluate", count, "methods") as bar:
        for ranking in made:
            figures = list_figures(case, ranking)
            stated = protocol.with_details(ranking.details)
            rows += metric_rows(ranking.method, figures, users, stated, workspace.settings.evaluate)
            file.write(ranking.method, figures)
            bar.advance(1, ranking.method)
            if ranking.method in COMPARED:
                ranks[ranking.method] = figures.ranks
    if len(ranks) == len(COMPARED):
        rows += gain_rows(ranks, users, protocol, workspace.settings.evaluate)
    return {"metric": _metric_table(rows)}


def list_figures(case: EvaluationCase, ranking: Ranking) -> ListFigures:
    """Return the figures of one method's lists for each user."""
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
