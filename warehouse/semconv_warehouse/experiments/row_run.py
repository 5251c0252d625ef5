"""Compute one row of an experiment: tune a model or a peer, evaluate it, and collect the figures of the row."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semconv import columns
from semconv.data.store import RunRecord
from semconv.evaluation.methods import POPULARITY
from semconv.runs.lineage import Lineage
from semconv.stages.agreement import HONEST_CUT
from semconv.stages.evaluate.comparison import Scored
from semconv_warehouse.experiments.notes import unreachable_figures
from semconv_warehouse.experiments.options import ExperimentOptions
from semconv_warehouse.experiments.plan import CODE_FIGURES, COSTS, FIGURES, ExperimentRow
from semconv_warehouse.experiments.row_settings import PlannedRow, open_with
from semconv_warehouse.opened import OpenedProject
from semconv_warehouse.store.layout import ProjectLayout


@dataclass(frozen=True)
class ComputedRow:
    """A computed row.

    Attributes:
        figures: metrics, costs and conditions of the row.
        scored: the evaluate run and the method that the figures belong to.
        popularity: the evaluate run that ranked the same users' held-out items by popularity.
    """

    figures: dict[str, Any]
    scored: Scored
    popularity: Scored


@dataclass(frozen=True)
class _Evaluated:
    """The runs from which the figures of a row come.

    Attributes:
        evaluation: of the row's method.
        baselines: evaluation of the model and the baselines on the same users; it differs from ``evaluation`` for a peer.
        peer: training of the peer, if the row has one.
    """

    evaluation: RunRecord
    baselines: RunRecord
    lineage: Lineage
    peer: RunRecord | None = None


def run_row(
    project: OpenedProject, layout: ProjectLayout, planned: PlannedRow, options: ExperimentOptions
) -> ComputedRow:
    """Compute one row: tune and evaluate what it needs, and collect its figures."""
    started = time.monotonic()
    row, own = planned.row, open_with(project, layout, planned.settings)
    found = _evaluated(project, own, planned, options)
    metrics = _figures(own.store.metric_rows(found.evaluation.run_id), row)
    training = found.lineage.finetune if found.peer is None else found.peer
    is_trained = found.peer is not None or row.shows_model
    figures = {
        "label": row.label,
        "seed": planned.seed,
        "method": row.measured,
        "split": options.split,
        "train_cut": planned.settings.split.train_cut,
        **metrics,
        **(_code_figures(own, found.lineage) if row.shows_model else {}),
        **_training_costs(own, training if is_trained else None, metrics["ndcg@10"]),
        "seconds": round(time.monotonic() - started, 1),
        "finetune_run_id": found.lineage.finetune.run_id,
        "evaluate_run_id": found.evaluation.run_id,
    }
    return ComputedRow(figures, Scored(found.evaluation, row.measured), Scored(found.baselines, POPULARITY))


def _evaluated(
    project: OpenedProject, own: OpenedProject, planned: PlannedRow, options: ExperimentOptions
) -> _Evaluated:
    """Tune and evaluate the model of a row, and train and evaluate the peer of the row if there is one."""
    from semconv.stages.blend.run import blend_run
    from semconv.stages.evaluate.peer import evaluate_peer
    from semconv.stages.evaluate.run import evaluate_current
    from semconv.stages.night import fit_all
    from semconv.stages.tune.figures import training_seconds

    lineage = fit_all(own.workspace, planned.row.codes)
    if planned.row.method in columns.BLENDS:
        blend_run(own.workspace, lineage)
        lineage = Lineage.current(own.store, lineage.finetune)
    evaluation = evaluate_current(own.workspace, lineage, options.split).record
    if planned.peer_settings is None:
        return _Evaluated(evaluation, evaluation, lineage)
    # The peer is measured on the same users and candidate items as the model, so it needs the lists of the model.
    recommend = Lineage.of(own.store, evaluation).recommend
    other = open_with(project, own.layout, planned.peer_settings)
    # On [:-1], the number of epochs is chosen (``with_chosen_epochs``), so the time is no limit.
    is_honest = planned.settings.split.train_cut == HONEST_CUT
    seconds = training_seconds(own.workspace, lineage.finetune) if is_honest else None
    outcome, trained = evaluate_peer(other.workspace, recommend, planned.row.peer_for(seconds))
    return _Evaluated(outcome.record, evaluation, lineage, trained)


def _figures(metrics: Sequence[Mapping[str, Any]], row: ExperimentRow) -> dict[str, Any]:
    mine = [metric for metric in metrics if metric["method"] == row.measured and metric["segment"] == "all"]
    named = {f"{metric['name'].replace('hit_ratio', 'hr')}@{metric['k']}": metric for metric in mine}
    interval = named["ndcg@10"]
    return {
        "num_users": interval["num_users"],
        **(unreachable_figures(interval["protocol"]) if row.shows_model else {}),
        **{name: named[name]["value"] for name in FIGURES},
        "ndcg@10_low": interval["ci_low"],
        "ndcg@10_high": interval["ci_high"],
    }


def _code_figures(project: OpenedProject, lineage: Lineage) -> dict[str, Any]:
    """Return the columns CR and T of the paper's Table 5, and why the codes are not aligned with text.

    CR and T are both collision rates, over all items with codes, and the number of new tokens.
    """
    from semconv.stages.codes.item_codes import ItemCodes
    from semconv.tokenization.code_set import CodeSet
    from semconv.tokenization.collisions import collision_rates

    code_set = CodeSet.load(project.workspace.intact(lineage.codebook))
    shared, surplus = collision_rates(ItemCodes.read(project.workspace, lineage.code_runs).codes)
    levels, size, _ = code_set.books.shape
    alignment = code_set.figures.get("alignment", {})  # external codes have none
    return {
        **dict(zip(CODE_FIGURES, (shared, surplus, levels * size), strict=True)),
        "why_not_aligned": alignment.get("why_off") if alignment.get("lambda") else None,
    }


def _training_costs(project: OpenedProject, run: RunRecord | None, ndcg_at_10: float) -> dict[str, Any]:
    """Return the cost of a training: its number of samples, its processor seconds, and NDCG@10 per processor minute.

    All three are None if nothing was trained for the row.
    """
    from semconv.stages.tune.figures import tuning_figures

    figures = {} if run is None else tuning_figures(project.workspace, run)
    seconds = figures.get("processor_seconds")
    per_minute = ndcg_at_10 / (seconds / 60) if seconds else None
    return dict(zip(COSTS, (figures.get("samples"), seconds, per_minute), strict=True))
