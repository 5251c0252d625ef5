"""The model beside peer methods on the same users: popularity, transition counts, SASRec and more, in one table.

The size `full` takes evaluate runs of projects: `--project P` takes the newest run of a project, and `--run ID` names
others. Several runs stand for several seeds of the same settings. `--sasrec FOLDER` adds SASRec, from a folder that
`benchmarks.peers.sasrec_training` filled with the same data. The size `small` makes a demo shop, and trains a model and a
SASRec on it. Figures are of the users that every method ranked.

Intervals are 95 % percentile bootstraps over users. Leads are paired over the same users. With several runs the figures are
means and standard deviations over the runs; intervals and leads are those of the first run.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.peers.sasrec_training import CUTOFFS, METHOD, export, sequence_data
from benchmarks.rows import Comparison, Row, argument_parser, finish, markdown_table
from benchmarks.shop import SMALL_MODEL, demo_project
from semconv import columns
from semconv.errors import InputError
from semconv.metrics import bootstrap_interval, paired_bootstrap
from semconv.peers.settings import Limits, PeerSettings
from semconv.peers.training import PeerTraining
from semconv.runs.lineage import Lineage
from semconv.settings.evaluate import EvaluateSettings
from semconv.stages.evaluate.run import evaluate_current
from semconv.stages.evaluate.user_file import read_ranks
from semconv.stages.night import fit_all
from semconv_warehouse.project import Project

PACKAGES = ["torch", "transformers"]
OURS, COUNTER = "model", "transition"
DRAWS = {"samples": EvaluateSettings().bootstrap_samples, "confidence": 0.95, "seed": 0}


@dataclass(frozen=True)
class EvaluatedRun:
    """The ranks of one evaluate run."""

    name: str
    split: str
    ranks: Mapping[str, NDArray[np.int64]]  # method -> (U,) rank of the held-out item, 0 for a miss

    @property
    def num_users(self) -> int:
        """Number of users that every method ranked."""
        return len(self.ranks[OURS])


def read_run(root: Path, run_id: str | None, sasrec: Path | None) -> EvaluatedRun:
    """Read the ranks of an evaluate run (default: the newest), and those of SASRec for the same users.

    Raises:
        InputError: there is no such run, SASRec has no ranks of its split, or no user is in both.
    """
    workspace = Project.open(root).workspace
    run = workspace.latest(columns.EVALUATE) if run_id is None else workspace.run(run_id)
    if run is None:
        raise InputError(f"{root}: no finished evaluate run; `semconv evaluate` makes one")
    split = str(Lineage.of(workspace.store, run).recommend.settings["split"])
    of_methods = read_ranks(workspace, run)
    user_ids = next(iter(of_methods.values())).user_ids.to_pylist()
    ranks = {name: found.ranks for name, found in of_methods.items()}
    if sasrec is None:
        return EvaluatedRun(root.resolve().name, split, ranks)
    file = sasrec / f"ranks-{split}.parquet"
    if not file.is_file():
        raise InputError(
            f"{file}: missing; `python -m benchmarks.peers.sasrec_training` writes it when a training ends"
        )
    peer = pq.read_table(file)
    of_user = dict(zip(peer[columns.USER_ID].to_pylist(), peer[METHOD].to_numpy(), strict=True))
    found = [of_user.get(user) for user in user_ids]
    is_both = np.array([rank is not None for rank in found])
    if not is_both.any():
        raise InputError(f"{file} and {run.run_id} have no user in common")
    kept = {name: values[is_both] for name, values in ranks.items()}
    kept[METHOD] = np.array([rank for rank in found if rank is not None], dtype=np.int64)
    return EvaluatedRun(root.resolve().name, split, kept)


def small(folder: Path) -> EvaluatedRun:
    """Make a demo shop, and train a model and a SASRec on it for a few epochs."""
    from semconv_warehouse.demo.catalog import DemoShape

    project = demo_project(folder, DemoShape(users=400), {**SMALL_MODEL, "tuning.epochs": 3})
    fit_all(project.workspace)
    evaluate_current(project.workspace, project.workspace.lineage())
    peer = folder / METHOD
    peer.mkdir()
    data, settings = sequence_data(folder), PeerSettings(dropout=0.2, batch=32)
    training = PeerTraining(METHOD, data.for_training(10_000, settings.seed), settings, peer)
    training.run(Limits(20))
    export(training, data, top_k=0)
    return read_run(folder, None, peer)


def rows_of(runs: Sequence[EvaluatedRun]) -> list[Row]:
    """Make rows of the model beside each peer, and of each method's paired lead over transition counts."""
    first = runs[0]
    where = f"{first.name}, {first.split}, {first.num_users} users, {len(runs)} runs"
    rows = []
    for method in first.ranks:
        comparison = Comparison("quality", "" if method == OURS else method, PACKAGES)
        for name in CUTOFFS:
            ours, peer = (
                statistics.fmean(values_of(run, each, name).mean() for run in runs) for each in (OURS, method)
            )
            beside = {} if method == OURS else {"peer": peer or None}
            drawn = bootstrap_interval(values_of(first, OURS, name), **DRAWS)
            rows.append(
                comparison.row(
                    where, name, "mean over users", ours=ours, higher_is_better=True, interval=drawn, **beside
                )
            )
        if method != COUNTER:
            lead, low, high = lead_of(first, method)
            case = f"{where}: {method} less {COUNTER}"
            rows.append(
                Comparison("quality", "", PACKAGES).row(case, "ndcg@10", "lead", ours=lead, interval=(low, high))
            )
    return rows


def markdown(runs: Sequence[EvaluatedRun]) -> str:
    """Make a table with one line for each method, the best NDCG@10 first."""
    first = runs[0]
    lines = []
    for method in sorted(first.ranks, key=lambda each: -values_of(first, each, "ndcg@10").mean()):
        lead, low, high = lead_of(first, method)
        own_lead = "" if method == COUNTER else f"{lead:+.4f} ({low:+.4f} to {high:+.4f})"
        lines.append([method, *(_cell(runs, method, name) for name in CUTOFFS), own_lead])
    title = f"# {first.name}: {first.split}, {first.num_users} users, {len(runs)} evaluate runs"
    return title + "\n\n" + markdown_table(["method", *CUTOFFS, f"ndcg@10 less {COUNTER}"], lines)


def values_of(run: EvaluatedRun, method: str, name: str) -> NDArray[np.float64]:
    """Return one figure of each user."""
    metric, k = CUTOFFS[name]
    return metric(run.ranks[method], k)


def lead_of(run: EvaluatedRun, method: str) -> tuple[float, float, float]:
    """Return the lead in NDCG@10 over transition counts, with its paired interval."""
    return paired_bootstrap(values_of(run, method, "ndcg@10"), values_of(run, COUNTER, "ndcg@10"), **DRAWS)


def _cell(runs: Sequence[EvaluatedRun], method: str, name: str) -> str:
    means = [float(values_of(run, method, name).mean()) for run in runs]
    if len(runs) > 1:
        return f"{statistics.fmean(means):.4f} ± {statistics.stdev(means):.4f}"
    low, high = bootstrap_interval(values_of(runs[0], method, name), **DRAWS)
    return f"{means[0]:.4f} ({low:.4f} to {high:.4f})"


def main() -> None:
    """Read or make the runs, and print rows and a table."""
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--project", type=Path, action="append", default=[], help="project with an evaluate run; repeat it for seeds"
    )
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="ID",
        help="run to take instead of the newest: one for each project, or several of a single project",
    )
    parser.add_argument(
        "--sasrec", type=Path, metavar="FOLDER", help="folder of benchmarks.peers.sasrec_training on the same data"
    )
    given = parser.parse_args()
    if given.size == "full" and not given.project:
        parser.error("the size full needs --project with a finished evaluate run; `semconv evaluate` makes one")
    if given.run and len(given.project) not in (1, len(given.run)):
        parser.error(
            f"{len(given.run)} --run for {len(given.project)} --project: name one run for each project, or one project"
        )
    with tempfile.TemporaryDirectory() as folder:
        if given.size == "small":
            runs = [small(Path(folder) / "demo-shop")]
        elif given.run:
            projects = given.project * len(given.run) if len(given.project) == 1 else given.project
            runs = [read_run(*named, given.sasrec) for named in zip(projects, given.run, strict=True)]
        else:
            runs = [read_run(project, None, given.sasrec) for project in given.project]
        if len({tuple(run.ranks) for run in runs}) > 1 or len({run.split for run in runs}) > 1:
            parser.error("the runs have different splits or different methods; name runs that agree")
        finish(rows_of(runs), given.json, markdown(runs))


if __name__ == "__main__":
    main()
