"""Figures of evaluate runs for new and for known held-out items.

    python -m benchmarks.peers.office P/data/experiments [--runs ID...] [--json FILE]

A known item has interactions in the train cut, a new one has none. A new item can only be found by its text: transition
counts and popularity miss it as long as known items fill a list. Every finished evaluate run of the project is taken, such
as those of an experiment, and named by the settings that differ from the first run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.rows import Comparison, Interval, Row, add_json_option, finish, markdown_table
from semconv import columns
from semconv.data.store import RunRecord
from semconv.metrics import bootstrap_interval, hit_ratio, ndcg
from semconv.runs.files import USER_FIGURES
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv_warehouse.project import Project

ALONE = Comparison("office", "", ["torch", "transformers"])
FIGURES = {"HR@10": hit_ratio, "NDCG@10": ndcg}
_CHANGED_STAGES = (columns.EMBED_TEXT, columns.CODEBOOK, columns.FINETUNE)  # stages whose settings a trial changes


@dataclass(frozen=True)
class Segment:
    """The figures of one method of one evaluate run, on some of its users."""

    run_id: str
    settings: str  # settings that differ from the first run
    method: str
    segment: str
    num_users: int
    figures: Mapping[str, tuple[float, Interval]]


def segments(workspace: Workspace, runs: Sequence[RunRecord]) -> Iterator[Segment]:
    """Yield the figures of every method of every run: on all users, with known and with new held-out items."""
    settings = {run.run_id: _settings(workspace, run) for run in runs}
    first = settings[runs[0].run_id] if runs else {}
    for run in runs:
        own = settings[run.run_id]
        differs = ", ".join(f"{name} {own[name]}" for name in own if own[name] != first.get(name))
        for method, segment, ranks in divided(pl.read_parquet(workspace.intact(run, USER_FIGURES))):
            yield Segment(run.run_id, differs, method, segment, len(ranks), _figures(ranks))


def divided(users: pl.DataFrame) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
    """Divide the rows of ``users.parquet``, and yield method, segment and ranks. Empty segments are left out."""
    for (method,), mine in users.group_by(columns.METHOD, maintain_order=True):
        ranks = mine[columns.RANK].to_numpy().astype(np.int64)
        is_new = mine["target_popularity"].to_numpy() == 0
        for segment, inside in (("all", is_new | True), ("known target", ~is_new), ("new target", is_new)):
            if inside.any():
                yield str(method), segment, ranks[inside]


def _figures(ranks: NDArray[np.int64]) -> dict[str, tuple[float, Interval]]:
    values = {name: metric(ranks, 10) for name, metric in FIGURES.items()}
    return {
        name: (float(own.mean()), bootstrap_interval(own, samples=1000, confidence=0.95, seed=0))
        for name, own in values.items()
    }


def _settings(workspace: Workspace, run: RunRecord) -> dict[str, Any]:
    """Return the settings of the stages before an evaluation, by ``section.key``."""
    lineage = Lineage.of(workspace.store, run)
    before = [found for stage in _CHANGED_STAGES if (found := lineage.find(stage)) is not None]
    return {
        f"{section}.{key}": value
        for record in before
        for section, values in record.settings.items()
        if isinstance(values, Mapping)
        for key, value in values.items()
    }


def rows_of(found: Sequence[Segment]) -> list[Row]:
    """Make one row for each figure."""
    return [
        ALONE.row(
            f"{each.run_id} ({each.settings or 'first'}): {each.method}, {each.segment}, {each.num_users} users",
            name,
            "mean over users",
            ours=value,
            interval=interval,
        )
        for each in found
        for name, (value, interval) in each.figures.items()
    ]


def markdown(found: Sequence[Segment]) -> str:
    """Make a table with one line for each run, method and segment."""
    lines = [
        [each.settings, each.method, each.segment, f"{each.num_users:,}"]
        + [f"{value:.4f} ({low:.4f} to {high:.4f})" for value, (low, high) in each.figures.values()]
        for each in found
    ]
    return markdown_table(["settings beside the first run's", "method", "target", "users", *FIGURES], lines)


def main() -> None:
    """Read the runs, and print rows and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="folder of the project, or of its experiments")
    parser.add_argument("--runs", nargs="*", metavar="ID", help="only these runs, in this order; default: all")
    add_json_option(parser)
    given = parser.parse_args()
    workspace = Project.open(given.project).workspace
    if given.runs:
        runs = [workspace.run(run_id) for run_id in given.runs]
    else:
        runs = list(reversed(workspace.store.runs(stage=columns.EVALUATE, status="finished")))  # oldest first
    found = list(segments(workspace, runs))
    finish(rows_of(found), given.json, markdown(found))


if __name__ == "__main__":
    main()
