"""Run an experiment: tune and evaluate a model for each row, in a separate project in ``data/experiments``.

The separate project has a copy of the items and interactions. No list of an experiment is published, and no model of an
experiment becomes the current model. An experiment reuses a finished run that has the same settings and inputs. So
several rows and several tables can use the same run, and a killed experiment continues where it stopped.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from semconv.data.statistics import DataStatistics, data_statistics
from semconv.errors import SettingsError
from semconv_warehouse.experiments.comparison import Comparison
from semconv_warehouse.experiments.notes import data_notes, row_notes
from semconv_warehouse.experiments.options import ExperimentOptions, LeftOut, chosen_rows
from semconv_warehouse.experiments.plan import Experiment
from semconv_warehouse.experiments.published import differences_from_paper, paper_data_set
from semconv_warehouse.experiments.row_settings import PlannedRow, plan_row, with_chosen_epochs
from semconv_warehouse.experiments.separate import copy_inputs, experiment_lock
from semconv_warehouse.opened import OpenedProject


@dataclass
class ExperimentRun:
    """An experiment with its options. Iterating over it computes the rows; afterwards it has the summary.

    Attributes:
        experiment: only with rows that can be computed.
        left_out: rows of the table that are not computed.
        statistics: of the data.
        planned: the rows with each seed and their settings, the reference first.
        comparison: of the rows that are computed so far.
        data_notes: what the data does not have for the methods of the rows, in sentences.
    """

    project: OpenedProject
    experiment: Experiment
    options: ExperimentOptions
    left_out: list[LeftOut]
    statistics: DataStatistics
    planned: list[PlannedRow]
    comparison: Comparison
    data_notes: list[str]

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
              1 - different code sequences / items, and ``new_tokens``, the number of code tokens; only for the model and
              the blend, as the next two
            - ``why_not_aligned``: why the codes are not aligned with text although ``codebook.alignment`` is above 0;
              None if they are, or if it is 0
            - ``num_unreachable``, the number of held-out items that can be in no list, and ``why_unreachable``
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
        self.comparison.clear()
        for row in planned:
            project.progress.say(
                f"experiment {self.experiment.name}: computing row {row.row.label} with seed {row.seed}"
            )
            yield self.comparison.add(row, run_row(project, layout, row, self.options), self._paper(row)[0])

    def result(self) -> dict[str, Any]:
        """Return everything that is known about the experiment, as plain values for JSON."""
        options = self.options
        return {
            "table": self.experiment.name,
            "argument": self.experiment.argument,
            "title": self.experiment.title,
            "data": {**vars(self.statistics), "paper_data_set": paper_data_set(self.statistics)},
            "split": options.split,
            "train_cut": self.planned[0].settings.split.train_cut,
            "seen": self.planned[0].settings.recommend.seen,
            "seeds": list(options.seeds),
            "confidence": self.project.settings.evaluate.confidence,
            "budget": options.budget,
            "backbones": list(options.backbones),
            "codes": "" if options.codes is None else options.codes.name,
            "settings": dict(self.project.overrides),
            "preset": " and ".join(dict.fromkeys(row.preset for row in self.planned)),
            "reference": self.experiment.reference,
            "published": self._published_state(),
            "rows": self.comparison.rows,
            "means": self.comparison.means(),
            "left_out": [vars(row) for row in self.left_out],
            "not_above_popularity": self.comparison.not_above_popularity(),
            "not_aligned": self.comparison.not_aligned(),
            "notes": [*self.data_notes, *row_notes(self.comparison.rows)],
            "verdicts": self.comparison.verdicts(),
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
    sequences = project.workspace.sequences(split={"temporal_at": ""})
    found = data_statistics(sequences, len(project.store.catalog()))
    notes = list(data_notes(planned, sequences, has_queries=project.store.has_queries()))
    published = {row.label: row.paper for row in (*experiment.rows, *chosen.rows)}
    comparison = Comparison(project, chosen, options.seeds, found, planned, published)
    return ExperimentRun(project, chosen, options, left_out, found, planned, comparison, notes)


def _require_different(planned: Sequence[PlannedRow]) -> None:
    """Raise SettingsError if two rows of a table that compares backbones have the same backbone."""
    for one, other in itertools.combinations(planned, 2):
        if one.seed == other.seed and one.settings == other.settings:
            raise SettingsError(
                f"{one.row.label} and {other.row.label} are the same backbone; give --backbone at least twice, each time with"
                " another one"
            )
