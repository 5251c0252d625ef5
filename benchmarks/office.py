"""Evaluate runs by what is known of the target: items with interactions in the train cut, and cold ones without.

    python -m benchmarks.office P/data/experiments [--runs ID...] [--json FILE]

Takes every finished evaluate run of the project, an experiment's most of all, and says which settings it had that differ from the
first one's. A cold target can only be found through its text: the counter and popularity miss it whenever anything known fills a list.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import Row, Subject, finish
from semconv import columns
from semconv.data.splits import targets, train_part
from semconv.data.store import RunRecord
from semconv.metrics import bootstrap_interval, hit_ratio, ndcg
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.evaluate.user_file import read_ranks
from semconv_warehouse.project import Project

SUBJECT = Subject("office", "", ["torch", "transformers"])
FIGURES = {"HR@10": hit_ratio, "NDCG@10": ndcg}
_TOLD_APART_BY = (columns.CODEBOOK, columns.FINETUNE)  # stages whose settings a trial changes


@dataclass(frozen=True)
class Segment:
    """One method of one evaluate run on some of its users."""

    run_id: str
    settings: str  # what differs from the first run
    method: str
    segment: str
    num_users: int
    figures: Mapping[str, tuple[float, float, float]]  # figure, low, high


def cold_targets(workspace: Workspace, split: str) -> dict[str, bool]:
    """User id -> whether nobody had the user's target in the train cut, for users with a target."""
    sequences, catalog = workspace.sequences(), workspace.store.catalog()
    held_out = targets(sequences, split)  # type: ignore[arg-type]
    train = train_part(sequences, workspace.settings.split.train_cut, 1, len(catalog))
    is_known = np.zeros(len(catalog), dtype=bool)
    is_known[train.items] = True
    return {sequences.user_ids[int(user)]: not is_known[held_out[user]] for user in np.flatnonzero(held_out >= 0)}


def segments(workspace: Workspace, runs: Sequence[RunRecord]) -> Iterator[Segment]:
    """Every method of every run, on all users, on those with a known target and on those with a cold one."""
    settings = {run.run_id: _settings(workspace, run) for run in runs}
    first = settings[runs[0].run_id] if runs else {}
    for run in runs:
        split = str(Lineage.of(workspace.store, run).recommend.settings["split"])
        cold = cold_targets(workspace, split)
        found = read_ranks(workspace, run)
        is_cold = np.array([cold[user] for user in next(iter(found.values())).user_ids.to_pylist()])
        said = settings[run.run_id]
        differs = ", ".join(f"{name} {said[name]}" for name in said if said[name] != first.get(name))
        parts = {"all": np.ones_like(is_cold), "known target": ~is_cold, "cold target": is_cold}
        for method, of_users in found.items():
            ranks = of_users.ranks
            for name, inside in parts.items():
                if inside.any():
                    yield Segment(run.run_id, differs, method, name, int(inside.sum()), _figures(ranks[inside]))


def rows_of(found: Sequence[Segment]) -> list[Row]:
    """One row a figure."""
    return [
        SUBJECT.row(
            f"{each.run_id} ({each.settings or 'first'}): {each.method}, {each.segment}, {each.num_users} users",
            name,
            "mean over users",
            ours=value,
            interval=(low, high),
        )
        for each in found
        for name, (value, low, high) in each.figures.items()
    ]


def markdown(found: Sequence[Segment]) -> str:
    """One line a run, method and segment."""
    lines = [f"| settings beside the first run's | method | target | users | {' | '.join(FIGURES)} |", "|---" * 6 + "|"]
    for each in found:
        cells = [f"{value:.4f} ({low:.4f} to {high:.4f})" for value, low, high in each.figures.values()]
        lines.append(f"| {each.settings} | {each.method} | {each.segment} | {each.num_users:,} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _figures(ranks: NDArray[np.int64]) -> dict[str, tuple[float, float, float]]:
    found = {}
    for name, metric in FIGURES.items():
        values = metric(ranks, 10)
        found[name] = (float(values.mean()), *bootstrap_interval(values, samples=1000, confidence=0.95, seed=0))
    return found


def _settings(workspace: Workspace, run: RunRecord) -> dict[str, Any]:
    """What the stages before an evaluation were told, by ``section.key``."""
    before = [found for stage in _TOLD_APART_BY if (found := Lineage.of(workspace.store, run).find(stage)) is not None]
    return {
        f"{section}.{key}": value
        for record in before
        for section, values in record.settings.items()
        if isinstance(values, Mapping)
        for key, value in values.items()
    }


def main() -> None:
    """Read the runs, print rows and the table; with --json keep both."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("project", type=Path)
    parser.add_argument(
        "--runs", nargs="*", metavar="ID", help="these alone, in this order; all by default, oldest first"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows there, and a table in Markdown beside it"
    )
    given = parser.parse_args()
    workspace = Project.open(given.project).workspace
    every = list(reversed(workspace.store.runs(stage=columns.EVALUATE, status="finished")))
    runs = [workspace.run(run_id) for run_id in given.runs] if given.runs else every
    found = list(segments(workspace, runs))
    finish(rows_of(found), given.json)
    print(text := markdown(found))
    if given.json is not None:
        given.json.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
