"""Compare the computed rows of an experiment: means over seeds, paired differences, and verdicts on the paper's claims."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from semconv.data.statistics import DataStatistics
from semconv_warehouse.experiments.plan import CODE_FIGURES, COSTS, FIGURES, Claim, Experiment
from semconv_warehouse.experiments.published import paper_data_set
from semconv_warehouse.experiments.row_settings import PlannedRow, open_with
from semconv_warehouse.experiments.verdicts import Measured, verdict
from semconv_warehouse.opened import OpenedProject

if TYPE_CHECKING:
    from semconv.stages.evaluate.comparison import Scored
    from semconv_warehouse.experiments.row_run import ComputedRow

LESS_REFERENCE = "ndcg@10_less_reference"


@dataclass
class Comparison:
    """The rows of an experiment that are computed so far, and what they say about each other.

    Attributes:
        experiment: only with rows that can be computed.
        seeds: of all rows.
        statistics: of the data.
        planned: the rows with each seed and their settings, the reference first.
        published: the figures that the paper reports by label, data set and name, also for rows that are left out.
        rows: results of the computed rows.
        computed: the same rows with the runs that hold the ranks of their users, by label and seed.
    """

    project: OpenedProject
    experiment: Experiment
    seeds: Sequence[int]
    statistics: DataStatistics
    planned: Sequence[PlannedRow]
    published: Mapping[str, Mapping[str, Mapping[str, float]]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    computed: dict[tuple[str, int], ComputedRow] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget all rows."""
        self.rows.clear()
        self.computed.clear()

    def add(self, planned: PlannedRow, computed: ComputedRow, paper: Mapping[str, float]) -> dict[str, Any]:
        """Add a computed row, and return its results with the difference from the reference and the published figures."""
        self.computed[planned.row.label, planned.seed] = computed
        figures = {**computed.figures, **self._less_reference(planned), "paper": dict(paper)}
        self.rows.append(figures)
        return figures

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
                    "by seed": [] if measured is None else [round(one, 6) for one in measured.by_seed],
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

    def _less_reference(self, planned: PlannedRow) -> dict[str, float | None]:
        """Return the paired difference in NDCG@10 between a row and the reference, with its confidence interval."""
        mine, other = (self.computed[label, planned.seed] for label in (planned.row.label, self.experiment.reference))
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
        measured = self._measured(ours, theirs) if ours and theirs else None
        if measured is None or len(self.seeds) == 1:
            return measured
        pairs = [self._measured([one], [other]) for one, other in zip(ours, theirs, strict=False)]
        return replace(measured, by_seed=tuple(pair.difference for pair in pairs if pair is not None))

    def _runs(self, label: str) -> list[Scored]:
        return [row.scored for row in self._computed_rows(label)]

    def _computed_rows(self, label: str) -> list[ComputedRow]:
        return [self.computed[label, seed] for seed in self.seeds if (label, seed) in self.computed]

    def _measured(self, ours: Sequence[Scored], theirs: Sequence[Scored]) -> Measured | None:
        from semconv.stages.evaluate.comparison import pooled_interval
        from semconv.stages.evaluate.user_file import read_ranks

        settings = self.planned[0].settings
        workspace = open_with(self.project, self.project.layout.experiments, settings).workspace
        mine, other = ([read_ranks(workspace, one.run)[one.method] for one in side] for side in (ours, theirs))
        found = pooled_interval(mine, other, settings.evaluate)
        return None if found is None else Measured(*found)

    def _claims(self) -> Sequence[Claim]:
        """Return the claims of the table. For backbones, they are those of the paper's own figures of two rows in order."""
        if not self.experiment.compares_backbones:
            return self.experiment.claims
        labels = [row.label for row in self.experiment.rows if row.paper]
        pairs = [Claim(later, earlier) for earlier, later in itertools.pairwise(labels)]
        differences = [self._published_difference(pair)[0] or 0.0 for pair in pairs]
        return [
            pair if difference > 0 else Claim(pair.than, pair.better)
            for pair, difference in zip(pairs, differences, strict=True)
            if difference
        ]

    def _published_difference(self, claim: Claim) -> tuple[float | None, str | None]:
        """Return the paper's own difference in NDCG@10 and its data set: this one or, for other data, the first one."""
        better, than = self.published.get(claim.better, {}), self.published.get(claim.than, {})
        shared = [name for name in better if name in than and "ndcg@10" in better[name] and "ndcg@10" in than[name]]
        data_set = paper_data_set(self.statistics)
        if not shared:
            return None, None
        name = data_set if data_set in shared else shared[0]
        return round(better[name]["ndcg@10"] - than[name]["ndcg@10"], 6), name


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
