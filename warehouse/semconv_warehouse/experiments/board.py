"""A leaderboard: the project's own model and blend, and peers, on the same users, candidates and masked items.

The project's current model is used as it is, with its blend, its lists and its evaluation if there are any. What is
missing is made in the separate project of the experiments. So nothing that the leaderboard makes is published, and no
model or peer of it becomes the current one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from semconv import columns
from semconv.data.statistics import DataStatistics, data_statistics
from semconv.errors import SettingsError
from semconv.evaluation.methods import METHODS
from semconv.evaluation.standings import CUTOFF, standings, strongest
from semconv.runs.lineage import Lineage
from semconv.settings.tree import Settings
from semconv.stages.agreement import HONEST_CUT
from semconv_warehouse.experiments.board_rows import BoardProject, MeasuredRow
from semconv_warehouse.experiments.options import ExperimentOptions, LeftOut, chosen_rows
from semconv_warehouse.experiments.plan import Experiment
from semconv_warehouse.experiments.row_settings import open_with
from semconv_warehouse.experiments.separate import adopt_blend, adopt_model, copy_inputs, experiment_lock
from semconv_warehouse.opened import OpenedProject
from semconv_warehouse.store.layout import ProjectLayout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from semconv.data.store import RunRecord
    from semconv.evaluation.segments import EvaluatedUsers


@dataclass
class Board:
    """A leaderboard with its options. Iterating over it measures the rows; afterwards it has the result.

    Attributes:
        experiment: only with rows that can be measured.
        settings: under which the rows are measured.
        statistics: of the data.
        left_out: rows that are not measured, and why.
    """

    project: OpenedProject
    experiment: Experiment
    options: ExperimentOptions
    settings: Settings
    statistics: DataStatistics
    left_out: list[LeftOut]
    _measured: dict[str, MeasuredRow] = field(default_factory=dict)  # by label
    _ranks: dict[str, NDArray[np.int64]] = field(default_factory=dict)  # by label
    _users: EvaluatedUsers | None = None
    _shared: dict[str, Any] = field(default_factory=dict)  # what all rows have in common

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Measure the rows, and yield the figures of each row over all users when it is measured.

        Yields:
            ``label``, ``seed``, ``ndcg@10`` and ``hr@10`` with their intervals. The differences, which need all rows, are
            in ``result``.
        """
        with experiment_lock(self.project):
            yield from self._rows()

    def _rows(self) -> Iterator[dict[str, Any]]:
        from semconv.stages.evaluate.leaderboard import ranks_of, with_transitions

        say = self.project.progress.say
        for left_out in self.left_out:
            say(f"row {left_out.label} is left out: {left_out.reason}")
        board = self._opened()
        self._users, self._shared = with_transitions(board.case), _conditions(board)
        for row in self.experiment.rows:
            say(f"{self.experiment.name}: measuring row {row.label}")
            found = board.measure(row)
            if isinstance(found, LeftOut):
                self.left_out.append(found)
                say(f"row {found.label} is left out: {found.reason}")
                continue
            self._measured[row.label] = found
            self._ranks |= ranks_of(board.own.workspace, board.case, {row.label: found.scored})
            mine = {row.label: self._ranks[row.label]}
            figures = standings(mine, self._users, {}, self.settings.evaluate)[0]
            nothing = dict.fromkeys(f"ndcg@10_less_reference{end}" for end in ("", "_low", "_high"))
            yield {**figures, "label": row.label, "seed": found.seed, "paper": {}, **nothing}

    def references(self) -> dict[str, str]:
        """Return the rows that all rows are compared with: ``reference``, and ``rival``, the strongest of some rows."""
        found = {}
        if self.experiment.reference in self._ranks:
            found["reference"] = self.experiment.reference
        rival = strongest(self._ranks, self.experiment.rivals)
        return found if rival is None else {**found, "rival": rival}

    def result(self) -> dict[str, Any]:
        """Return the leaderboard as plain values for JSON, with a row for each label and segment."""
        assert self._users is not None, "the rows are measured first"
        rows = standings(self._ranks, self._users, self.references(), self.settings.evaluate)
        return {
            "table": self.experiment.name,
            "argument": self.experiment.argument,
            "title": self.experiment.title,
            "data": vars(self.statistics),
            "settings": dict(self.project.overrides),
            **self._shared,
            "references": self.references(),
            "options": {"peer_seconds": self.options.peer_seconds, "other_head": self.options.other_head},
            "rows": [self._row(row) for row in rows],
            "left_out": [vars(row) for row in self.left_out],
        }

    def _row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of the result: figures, costs, and the conditions of the measurement."""
        figures = dict(row)
        label = figures.pop("method")
        found = self._measured[label]
        return {
            "label": label,
            "method": found.scored.method,
            **figures,
            "training_processor_seconds": found.training,
            "list_processor_seconds_per_1000_users": round(found.making, 4),
            "split": self._shared["split"],
            "train_cut": self._shared["train_cut"],
            "seen": self._shared["seen"],
            "seed": found.seed,
            "is_chosen_on_these_users": found.is_chosen_here,
            "reads": list(found.reads),
            "evaluate_run_id": found.scored.run.run_id,
        }

    def _opened(self) -> BoardProject:
        """Take over the project's model, or tune one; evaluate it, and return what the rows need."""
        from semconv.stages.blend.run import blend_run
        from semconv.stages.evaluate.case import EvaluationCase
        from semconv.stages.evaluate.list_cost import timed_users
        from semconv.stages.evaluate.run import evaluate_current

        layout = copy_inputs(self.project)
        own = open_with(self.project, layout, self.settings)
        lineage, blend = self._lineage(layout, own)
        own = open_with(self.project, layout, _as_trained(self.settings, lineage))
        if lineage.tuned is not None:
            if blend is None:
                blend_run(own.workspace, lineage)
            lineage = Lineage.current(own.store, lineage.tuned)
        evaluation = evaluate_current(own.workspace, lineage, self.options.split).record
        case = EvaluationCase.read(own.workspace, Lineage.of(own.store, evaluation))
        timed = timed_users(case, self.settings.evaluate.seed)
        return BoardProject(self.project, own, self.options, case, evaluation, timed)

    def _lineage(self, layout: ProjectLayout, own: OpenedProject) -> tuple[Lineage, RunRecord | None]:
        """Return the lineage of the project's current model in the separate project, or of a model that is tuned now.

        Returns:
            the lineage, and the project's current blend of the model; None if it has none.
        """
        from semconv.stages.night import fit_all

        say, found = self.project.progress.say, adopt_model(self.project, own, self.options.split)
        if found is None:
            say(
                "the project has no model yet, so one is tuned for this leaderboard alone; `semconv run` makes one to keep"
            )
            split = dataclasses.replace(self.settings.split, train_cut=HONEST_CUT)
            if self.options.split == "valid":
                own = open_with(self.project, layout, dataclasses.replace(self.settings, split=split))
            return fit_all(own.workspace), None
        blend = adopt_blend(self.project, own, found)
        for run_id, command in stale_runs(self.project, found, blend):
            say(
                f"{run_id} was made before data or settings changed, and is measured as it is; `{command}` makes a new one"
            )
        return found, blend


def prepare_board(project: OpenedProject, experiment: Experiment, options: ExperimentOptions) -> Board:
    """Check the options and methods of a leaderboard before its first row is measured.

    Raises:
        SettingsError: an option belongs to other tables, there is no such method, or lists are shorter than 10 items.
        InputError: there are no interactions.
    """
    from semconv.stages.evaluate.leaderboard import ONLY_HERE

    for name, given in (("--seeds", len(options.seeds) > 1), ("--budget", bool(options.budget))):
        if given:
            raise SettingsError(
                f"{experiment.name} measures the project's own model, which was tuned once; leave {name} out"
            )
    chosen, left_out = chosen_rows(experiment, options)
    settings = _settings(project)
    counted = [method.name for method in METHODS if method.sql]
    known = (columns.METHOD_MODEL, *columns.BLENDS, *counted, *ONLY_HERE)
    for row in chosen.rows:
        if not row.peer and row.method not in known:
            raise SettingsError(f"row {row.label}: there is no method {row.method}; give one of {', '.join(known)}")
    if settings.recommend.top_k < CUTOFF:
        raise SettingsError(
            f"{experiment.name}: metrics at {CUTOFF} need lists of {CUTOFF} items; set recommend.top_k to at least {CUTOFF}"
        )
    found = data_statistics(project.workspace.sequences(split={"temporal_at": ""}), len(project.store.catalog()))
    return Board(project, chosen, options, settings, found, left_out)


def _settings(project: OpenedProject) -> Settings:
    """Return the project's settings for its separate project: files are found from there, and a blend is fitted."""
    settings = project.settings
    if settings.blend.use == "never":
        settings = dataclasses.replace(settings, blend=dataclasses.replace(settings.blend, use="auto"))
    if settings.behavior.vectors:
        vectors = str(project.layout.root / settings.behavior.vectors)
        settings = dataclasses.replace(settings, behavior=dataclasses.replace(settings.behavior, vectors=vectors))
    from semconv.stages.stage_settings import named_backbone

    path = named_backbone(project.workspace)
    return dataclasses.replace(settings, backbone=dataclasses.replace(settings.backbone, path=path))


def _as_trained(settings: Settings, lineage: Lineage) -> Settings:
    """Return the settings with the split and the events of the model, so that peers train on the same interactions."""
    names = ("train_cut", "k_core", "temporal_at")
    made = {name: lineage.split[name] for name in names if name in lineage.split}
    events = settings.events.as_recorded(lineage.split.get("events", {}))
    return dataclasses.replace(settings, split=dataclasses.replace(settings.split, **made), events=events)


def stale_runs(project: OpenedProject, lineage: Lineage, blend: RunRecord | None) -> Iterator[tuple[str, str]]:
    """Yield the runs that are measured though data or settings changed since, each with the command for a new one.

    Args:
        lineage: of the model, or of a blend without a model, which is outdated also if its vectors are.
        blend: that is measured; None if it is fitted with the settings of today.
    """
    from semconv.stages import stage_settings

    workspace = project.workspace
    today = stage_settings.settings_today(workspace, lineage)
    is_stale = any(workspace.book.is_stale(run, today[run.stage]) for run in lineage.runs if run.stage in today)
    is_blend_stale = blend is not None and workspace.book.is_stale(blend, stage_settings.blend(workspace, lineage))
    if is_stale or (is_blend_stale and lineage.tuned is None):
        yield lineage.ranker.run_id, "semconv run --refit"
    if blend is not None and is_blend_stale and lineage.tuned is not None:
        yield blend.run_id, "semconv blend"


def _conditions(board: BoardProject) -> dict[str, Any]:
    """Return what all rows have in common: split, train cut, mask, users, and the settings of the bootstrap."""
    case, tuned = board.case, board.case.lineage.tuned
    protocol = case.protocol(board.own.workspace)
    return {
        "split": protocol.split,
        "train_cut": protocol.train_cut,
        "seen": protocol.seen,
        "num_users": len(case.users),
        "seed": board.own.settings.evaluate.seed if tuned is None else tuned.settings["tuning"]["seed"],
        "ranker": case.lineage.ranker.run_id,
        "timed_users": len(board.timed),
        "protocol": protocol.details,
    }
