"""Run an experiment: tune and evaluate a model for each row, in a separate project in ``data/experiments``.

The separate project has a copy of the items and interactions. No list of an experiment is published, and no model of an
experiment becomes the current model. An experiment reuses a finished run that has the same settings and inputs. So
several rows and several tables can use the same run, and a killed experiment continues where it stopped.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from semconv.data.statistics import DataStatistics, data_statistics
from semconv.errors import SettingsError
from semconv_warehouse.experiments.options import ExperimentOptions, LeftOut, chosen_rows
from semconv_warehouse.experiments.plan import CODE_FIGURES, COSTS, FIGURES, Claim, Experiment
from semconv_warehouse.experiments.published import differences_from_paper, paper_data_set
from semconv_warehouse.experiments.row_settings import PlannedRow, open_with, plan_row, with_chosen_epochs
from semconv_warehouse.experiments.separate import copy_inputs, experiment_lock
from semconv_warehouse.experiments.verdicts import Measured, verdict
from semconv_warehouse.opened import OpenedProject

if TYPE_CHECKING:
    from semconv.stages.evaluate.comparison import Scored
    from semconv_warehouse.experiments.row_run import ComputedRow

LESS_REFERENCE = "ndcg@10_less_reference"


@dataclass
class ExperimentRun:
    """An experiment with its options. Iterating over it computes the rows; afterwards it has the summary.

    Attributes:
        experiment: only with rows that can be computed.
        left_out: rows of the table that are not computed.
        statistics: of the data.
        planned: the rows with each seed and their settings, the reference first.
        published: the figures that the paper reports by label, data set and name, also for rows that are left out.
        rows: results of the rows that are complete so far.
    """

    project: OpenedProject
    experiment: Experiment
    options: ExperimentOptions
    left_out: list[LeftOut]
    statistics: DataStatistics
    planned: list[PlannedRow]
    published: Mapping[str, Mapping[str, Mapping[str, float]]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    _computed: dict[tuple[str, int], ComputedRow] = field(default_factory=dict)  # by label and seed

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Compute every row with every seed, the reference first, and yield each row's results when they are complete.

        Yields:
            A dictionary with

            - ``label``, ``seed``, ``method``, ``split``, ``train_cut``, ``num_users``
            - the metrics ``hr@1`` ... ``ndcg@10``, and the confidence interval ``ndcg@10_low``, ``ndcg@10_high``
            - ``ndcg@10_less_reference`` with ``_low`` and ``_high``: the difference from the reference row with the
              same seed, paired over users; None in the reference row
            - ``paper``: the published metrics; empty if they may not be compared with the measured ones
            - ``collision_rate``, the share of the items that share their codes, ``collision_rate_distinct``, which is
              1 - different code sequences / items, and ``new_tokens``, the number of code tokens; not for peers
            - ``why_not_aligned``: why the codes are not aligned with text although ``codebook.alignment`` is above 0;
              None if they are, or if it is 0; not for peers
            - ``tuning_samples``, ``tuning_processor_seconds`` and ``ndcg@10_per_minute`` of the training; None if
              nothing is trained for the row, or if the run did not record its time
            - ``seconds`` that the row took in this process
            - ``finetune_run_id`` and ``evaluate_run_id``
        """
        with experiment_lock(self.project):
            yield from self._rows()

    def _rows(self) -> Iterator[dict[str, Any]]:
        from semconv_warehouse.experiments.row_run import run_row

        project, layout = self.project, copy_inputs(self.project)
        planned = [with_chosen_epochs(project, layout, row) for row in self.planned]
        self._say_conditions()
        self.rows.clear()
        for row in planned:
            project.progress.say(
                f"experiment {self.experiment.name}: computing row {row.row.label} with seed {row.seed}"
            )
            computed = run_row(project, layout, row, self.options)
            self._computed[row.row.label, row.seed] = computed
            figures = {**computed.figures, **self._less_reference(row), "paper": self._paper(row)[0]}
            self.rows.append(figures)
            yield figures

    def means(self) -> list[dict[str, Any]]:
        """Return one row per label, in the order of the table: the mean of each metric over seeds.

        With several seeds, ``ndcg@10_deviation`` is the standard deviation of NDCG@10 over seeds. The intervals of
        NDCG@10 and of the difference from the reference come from a bootstrap over users, whose values are means over
        seeds.
        """
        result = []
        for label in (row.label for row in self.experiment.rows):
            mine = [row for row in self.rows if row["label"] == label]
            if mine:
                result.append({"label": label, **_means(mine), **self._intervals(label), **_costs(mine)})
        return result

    def verdicts(self) -> list[dict[str, Any]]:
        """Return what the measurement says about each claim of the paper: difference, interval and verdict."""
        rows, unlearned, not_aligned = [], self.not_above_popularity(), self.not_aligned()
        for claim in self._claims():
            measured = self._difference(claim.better, claim.than)
            paper, data_set = self._published_difference(claim)
            labels = {claim.better, claim.than}
            is_learned = not labels & set(unlearned)
            is_aligned = not labels & set(not_aligned) or len(self._alignments(labels)) == 1
            rows.append(
                {
                    "claim": f"{claim.better} > {claim.than}",
                    "difference": None if measured is None else measured.difference,
                    "low": None if measured is None else measured.low,
                    "high": None if measured is None else measured.high,
                    "paper difference": paper,
                    "paper data set": data_set,
                    "verdict": verdict(measured, paper, is_learned=is_learned, is_aligned=is_aligned),
                }
            )
        return rows

    def not_above_popularity(self) -> list[str]:
        """Return the labels of the trained rows whose NDCG@10 is not surely above that of popularity.

        The difference is paired over users and pooled over seeds, as the other differences are. Such a row was trained
        too little, so its differences from other rows say nothing about the methods.
        """
        found = []
        for label in dict.fromkeys(row["label"] for row in self.rows if row["tuning_samples"] is not None):
            rows = self._computed_rows(label)
            gain = self._measured([row.scored for row in rows], [row.popularity for row in rows])
            if gain is None or gain.low <= 0:
                found.append(label)
        return found

    def not_aligned(self) -> dict[str, str]:
        """Return the rows whose codes are not aligned with text although their settings ask for it, by label.

        Without alignment with any seed, such a row does not have the method that its label names. The values are the
        seeds and the reasons.
        """
        found = {}
        for label in dict.fromkeys(row["label"] for row in self.rows):
            mine = [row for row in self.rows if row["label"] == label and row.get("why_not_aligned")]
            if mine:
                found[label] = "; ".join(f"seed {row['seed']}: {row['why_not_aligned']}" for row in mine)
        return found

    def _alignments(self, labels: set[str]) -> set[float]:
        """Return the different values of ``codebook.alignment`` in the rows with these labels."""
        return {row.settings.codebook.alignment for row in self.planned if row.row.label in labels}

    def result(self) -> dict[str, Any]:
        """Return everything that is known about the experiment, as plain values for JSON."""
        options = self.options
        return {
            "table": self.experiment.name,
            "title": self.experiment.title,
            "data": {**vars(self.statistics), "paper_data_set": paper_data_set(self.statistics)},
            "split": options.split,
            "train_cut": self.planned[0].settings.split.train_cut,
            "seen": self.planned[0].settings.recommend.seen,
            "seeds": list(options.seeds),
            "budget": options.budget,
            "backbones": list(options.backbones),
            "codes": "" if options.codes is None else options.codes.name,
            "settings": dict(self.project.overrides),
            "preset": " and ".join(dict.fromkeys(row.preset for row in self.planned)),
            "reference": self.experiment.reference,
            "published": self._published_state(),
            "rows": self.rows,
            "means": self.means(),
            "left_out": [vars(row) for row in self.left_out],
            "not_above_popularity": self.not_above_popularity(),
            "not_aligned": self.not_aligned(),
            "verdicts": self.verdicts(),
        }

    def _say_conditions(self) -> None:
        """Say which rows are left out, why published figures are, and that rows without a budget differ in samples."""
        say = self.project.progress.say
        for left_out in self.left_out:
            say(f"row {left_out.label} is left out: {left_out.reason}")
        if reason := self._why_not_published():
            say(f"published figures are left out: {reason}")
        if not self.options.budget and len(self.experiment.rows) > 1:
            say("rows may train on different numbers of samples; --budget SAMPLES gives all rows the same number")

    def _why_not_published(self) -> str:
        """Return why the published figures of the table are not shown; empty if they are, or if there are none."""
        reasons = [reason for row in self.planned if row.row.paper for reason in self._paper(row)[1]]
        return "; ".join(dict.fromkeys(reasons))

    def _published_state(self) -> str:
        """Return whether published figures are shown: ``shown``, ``none`` if the rows have none, or why they are not."""
        if not any(row.row.paper for row in self.planned):
            return "none"
        return self._why_not_published() or "shown"

    def _paper(self, planned: PlannedRow) -> tuple[Mapping[str, float], list[str]]:
        """Return the published figures of a row, or no figures and the reasons."""
        reasons = differences_from_paper(
            self.statistics, planned.settings, self.options.split, planned.preset, planned.row.settings
        )
        data_set = paper_data_set(self.statistics)
        if not reasons and planned.row.paper and data_set not in planned.row.paper:
            reasons = [f"the paper reports them for {', '.join(planned.row.paper)}, and the data is {data_set}"]
        return ({} if reasons else dict(planned.row.paper.get(str(data_set), {}))), reasons

    def _less_reference(self, planned: PlannedRow) -> dict[str, float | None]:
        """Return the paired difference in NDCG@10 between a row and the reference, with its confidence interval."""
        mine, other = (self._computed[label, planned.seed] for label in (planned.row.label, self.experiment.reference))
        found = None if mine is other else self._measured([mine.scored], [other.scored])
        return _interval(LESS_REFERENCE, found)

    def _intervals(self, label: str) -> dict[str, float | None]:
        """Return the intervals of the mean over seeds and of its difference from the reference."""
        reference = self.experiment.reference
        less = None if label == reference else self._difference(label, reference)
        own = self._measured(self._runs(label), [])
        return {
            "ndcg@10_low": None if own is None else own.low,
            "ndcg@10_high": None if own is None else own.high,
            **_interval(LESS_REFERENCE, less),
        }

    def _difference(self, better: str, than: str) -> Measured | None:
        """Return the difference between two rows over the seeds of both; None if a row was not measured."""
        ours, theirs = self._runs(better), self._runs(than)
        return self._measured(ours, theirs) if ours and theirs else None

    def _runs(self, label: str) -> list[Scored]:
        return [row.scored for row in self._computed_rows(label)]

    def _computed_rows(self, label: str) -> list[ComputedRow]:
        return [self._computed[label, seed] for seed in self.options.seeds if (label, seed) in self._computed]

    def _measured(self, ours: Sequence[Scored], theirs: Sequence[Scored]) -> Measured | None:
        from semconv.stages.evaluate.comparison import pooled_interval
        from semconv.stages.evaluate.user_file import read_ranks

        settings = self.planned[0].settings
        workspace = open_with(self.project, self.project.layout.experiments, settings).workspace
        mine, other = ([read_ranks(workspace, one.run)[one.method] for one in side] for side in (ours, theirs))
        found = pooled_interval(mine, other, settings.evaluate)
        return None if found is None else Measured(*found)

    def _claims(self) -> Sequence[Claim]:
        """Return the claims of the table. For backbones, a later one is expected to be better than the one before."""
        if not self.experiment.compares_backbones:
            return self.experiment.claims
        labels = [row.label for row in self.experiment.rows]
        return [Claim(later, earlier) for earlier, later in itertools.pairwise(labels)]

    def _published_difference(self, claim: Claim) -> tuple[float | None, str | None]:
        """Return the paper's own difference in NDCG@10 and its data set: this one or, for other data, the first one."""
        better, than = self.published.get(claim.better, {}), self.published.get(claim.than, {})
        shared = [name for name in better if name in than and "ndcg@10" in better[name] and "ndcg@10" in than[name]]
        data_set = paper_data_set(self.statistics)
        if not shared:
            return None, None
        name = data_set if data_set in shared else shared[0]
        return round(better[name]["ndcg@10"] - than[name]["ndcg@10"], 6), name


def prepare_experiment(project: OpenedProject, experiment: Experiment, options: ExperimentOptions) -> ExperimentRun:
    """Check the settings of all rows before the first one is computed, and return the experiment.

    Raises:
        InputError: there is nothing to train on, or a file does not exist.
        SettingsError: the options do not fit the table, a setting is out of range, or a row asks for a method that its
            evaluation will not have.
    """
    if options.peer_seconds or options.other_head:
        raise SettingsError(
            f"{experiment.name} is no leaderboard; leave --peer-seconds and --other-head out, or run `semconv experiment peers`"
        )
    chosen, left_out = chosen_rows(experiment, options)
    first = sorted(chosen.rows, key=lambda row: row.label != chosen.reference)  # the other rows keep their order
    planned = [plan_row(project, chosen, row, seed, options) for row in first for seed in options.seeds]
    if chosen.compares_backbones:
        _require_different(planned)
    found = data_statistics(project.workspace.sequences(split={"temporal_at": ""}), len(project.store.catalog()))
    published = {row.label: row.paper for row in (*experiment.rows, *chosen.rows)}
    return ExperimentRun(project, chosen, options, left_out, found, planned, published)


def _require_different(planned: Sequence[PlannedRow]) -> None:
    """Raise SettingsError if two rows of a table that compares backbones have the same backbone."""
    for one, other in itertools.combinations(planned, 2):
        if one.seed == other.seed and one.settings == other.settings:
            raise SettingsError(
                f"{one.row.label} and {other.row.label} are the same backbone; give --backbone at least twice, each time with"
                " another one"
            )


def _interval(name: str, measured: Measured | None) -> dict[str, float | None]:
    values = (None, None, None) if measured is None else (measured.difference, measured.low, measured.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def _means(mine: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means over seeds, the deviation of NDCG@10 over seeds, the published figures and the rates of codes."""
    means = {name: statistics.fmean(row[name] for row in mine) for name in FIGURES}
    spread = {"ndcg@10_deviation": statistics.stdev(row["ndcg@10"] for row in mine)} if len(mine) > 1 else {}
    paper = {f"paper {name}": value for name, value in mine[0]["paper"].items()}
    rates = {name: _mean([row[name] for row in mine]) for name in CODE_FIGURES if name in mine[0]}
    return {**means, **spread, **paper, **rates, "num_users": mine[0]["num_users"]}


def _costs(mine: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    costs = {name: _mean([row[name] for row in mine]) for name in COSTS}
    if costs["tuning_samples"] is not None:
        costs["tuning_samples"] = round(costs["tuning_samples"])
    return costs


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean. Return None if a value is missing, because a mean over some of the seeds would mislead."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None
