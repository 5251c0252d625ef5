"""Measure one row of a leaderboard: find or make its lists, and the cost of training and of making lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from semconv import columns
from semconv.data.store import RunRecord
from semconv.evaluation.methods import METHODS, Method
from semconv.runs.lineage import Lineage
from semconv.stages.evaluate.case import EvaluationCase
from semconv.stages.evaluate.comparison import Scored
from semconv_warehouse.experiments.options import ExperimentOptions, LeftOut
from semconv_warehouse.experiments.plan import ExperimentRow
from semconv_warehouse.experiments.row_settings import open_with
from semconv_warehouse.opened import OpenedProject

if TYPE_CHECKING:
    from semconv.stages.evaluate.list_cost import ListCost, Users

_HEAD_OF: Mapping[Literal["items", "tokens"], str] = {"items": "items", "tokens": "codes"}  # tuning.history -> head
_METHODS: Mapping[str, Method] = {method.name: method for method in METHODS}


@dataclass(frozen=True)
class MeasuredRow:
    """Where the figures of a row come from, and what they cost.

    Attributes:
        scored: the evaluate run, and the method in it.
        training: processor seconds of the training, or of counting; None if an earlier version did not record them.
        making: processor seconds for the lists of a thousand users.
        seed: of the training, or of the evaluation for a row that trains nothing.
        is_chosen_here: whether weights, parameters or the epoch were chosen on the users that are measured.
        reads: what a peer reads besides items.
    """

    scored: Scored
    training: float | None
    making: float
    seed: int
    is_chosen_here: bool = False
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class BoardProject:
    """The separate project of a leaderboard, with the evaluation of the project's model.

    Attributes:
        project: the project whose leaderboard is made.
        own: the separate project, with the settings under which the rows are measured.
        case: the users, held-out items and candidates, which are the same for every row.
        evaluation: the evaluate run of the model, the blends and the baselines.
        timed: users whose lists are timed.
    """

    project: OpenedProject
    own: OpenedProject
    options: ExperimentOptions
    case: EvaluationCase
    evaluation: RunRecord
    timed: Users

    def measure(self, row: ExperimentRow) -> MeasuredRow | LeftOut:
        """Measure a row, or return why it is left out."""
        if row.peer:
            return self._peer(row)
        if row.method == columns.METHOD_MODEL:
            return self._model(row)
        if row.method in columns.BLENDS:
            return self._blend(row)
        method = _METHODS[row.method]
        return self._recent(row, method) if method.days else self._baseline(row, method)

    @property
    def _is_valid(self) -> bool:
        return self.case.split == "valid"

    def _seconds(self, run: RunRecord | None) -> float | None:
        from semconv.stages.tune.figures import training_seconds

        return None if run is None else training_seconds(self.own.workspace, run)

    def _model(self, row: ExperimentRow) -> MeasuredRow | LeftOut:
        tuned = self.case.lineage.tuned
        if tuned is None:
            return LeftOut(row.label, "the project ranks without a model (blend.model = false)")
        if row.head in ("", head_of(tuned)):
            return self._own(Scored(self.evaluation, row.method), self.case, self._seconds(tuned))
        if not self.options.other_head:
            return LeftOut(
                row.label,
                f"the project's model has the head {head_of(tuned)}; --other-head tunes one with the other head",
            )
        return self._other_head(row)

    def _other_head(self, row: ExperimentRow) -> MeasuredRow | LeftOut:
        """Tune a model with the other head, for the epochs that are the default of this head."""
        from semconv.stages.evaluate.run import evaluate_current
        from semconv.stages.night import fit_all

        settings = self.own.settings
        history = next(name for name, head in _HEAD_OF.items() if head == row.head)
        tuning = dataclasses.replace(settings.tuning, history=history, epochs=None)
        changed = dataclasses.replace(settings, tuning=tuning, blend=dataclasses.replace(settings.blend, use="never"))
        other = open_with(self.project, self.own.layout, changed)
        lineage = fit_all(other.workspace)
        evaluation = evaluate_current(other.workspace, lineage, self.options.split).record
        case = EvaluationCase.read(other.workspace, Lineage.of(other.store, evaluation))
        return self._own(Scored(evaluation, row.method), case, self._seconds(lineage.finetune), other)

    def _blend(self, row: ExperimentRow) -> MeasuredRow | LeftOut:
        lineage = self.case.lineage
        if row.method == columns.METHOD_BLEND and lineage.tuned is None:
            return LeftOut(row.label, "the project ranks without a model (blend.model = false)")
        parts = [self._seconds(lineage.need(columns.BLEND))]
        if row.method == columns.METHOD_BLEND:
            parts.append(self._seconds(lineage.tuned))
        known = [seconds for seconds in parts if seconds is not None]
        return self._own(
            Scored(self.evaluation, row.method), self.case, sum(known) if len(known) == len(parts) else None
        )

    def _own(
        self, scored: Scored, case: EvaluationCase, training: float | None, project: OpenedProject | None = None
    ) -> MeasuredRow:
        """Return a row whose lists are in a recommend run: of a model or a blend."""
        from semconv.stages.evaluate.list_cost import cost_of_lists, own_lists

        workspace = (project or self.own).workspace
        cost = cost_of_lists(lambda: own_lists(workspace, case, scored.method), self.timed)
        tuned = case.lineage.tuned
        seed = self.own.settings.blend.seed if tuned is None else int(tuned.settings["tuning"]["seed"])
        return MeasuredRow(scored, training, cost.per_thousand, seed, self._is_valid)

    def _peer(self, row: ExperimentRow) -> MeasuredRow:
        from semconv.stages.evaluate.leaderboard import has_times
        from semconv.stages.evaluate.list_cost import cost_of_lists
        from semconv.stages.evaluate.peer import evaluate_peer, peer_lists

        workspace = self.own.workspace
        peer = row.peer_for(self.options.peer_seconds or self._seconds(self.case.lineage.tuned))
        peer = dataclasses.replace(
            peer, dates=peer.dates and has_times(self.case), texts=peer.texts and self.case.lineage.text is not None
        )
        outcome, trained = evaluate_peer(workspace, self.case.recommend, peer)
        cost = cost_of_lists(lambda: peer_lists(workspace, self.case, peer, trained), self.timed)
        reads = tuple(name for name in ("dates", "texts") if getattr(peer, name))
        seed = self.own.settings.tuning.seed
        scored = Scored(outcome.record, row.peer)
        return MeasuredRow(scored, self._seconds(trained), cost.per_thousand, seed, self._is_valid, reads)

    def _recent(self, row: ExperimentRow, method: Method) -> MeasuredRow | LeftOut:
        from semconv.stages.evaluate.leaderboard import evaluate_recent, has_times, recent_lists
        from semconv.stages.evaluate.list_cost import cost_of_lists

        if not has_times(self.case):
            return LeftOut(row.label, "no training interaction has an event_time")
        evaluation = evaluate_recent(self.own.workspace, self.case.recommend, method).record
        cost = cost_of_lists(lambda: recent_lists(self.case, method), self.timed)
        return self._counted(Scored(evaluation, method.name), cost.preparation, cost)

    def _baseline(self, row: ExperimentRow, method: Method) -> MeasuredRow | LeftOut:
        from semconv.stages.evaluate.counter_search import tuned_parameters
        from semconv.stages.evaluate.list_cost import cost_of_baseline

        workspace = self.own.workspace
        tuning = Lineage.of(self.own.store, self.evaluation).find(columns.TUNE_BASELINE)
        if method.is_tuned and tuning is None:
            return LeftOut(
                row.label, "its parameters were not searched: evaluate.counter_search_users = 0, or no validation items"
            )
        cost = cost_of_baseline(workspace, self.case, method, tuning, self.timed)
        training: float | None = cost.preparation
        if method.is_tuned and tuning is not None:
            search: float | None = tuned_parameters(workspace, tuning).get("processor_seconds")
            training = None if search is None else search + cost.preparation
        return self._counted(Scored(self.evaluation, method.name), training, cost, is_tuned=method.is_tuned)

    def _counted(
        self, scored: Scored, training: float | None, cost: ListCost, *, is_tuned: bool = False
    ) -> MeasuredRow:
        seed = self.own.settings.evaluate.seed
        return MeasuredRow(scored, training, cost.per_thousand, seed, is_tuned and self._is_valid)


def head_of(tuned: RunRecord) -> str:
    """Return the head of a tuned model: ``items`` for one that scores whole items, ``codes`` for one that generates codes."""
    tuning: Mapping[str, Any] = tuned.settings["tuning"]
    return _HEAD_OF[tuning.get("history", "tokens")]
