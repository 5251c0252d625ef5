"""The model beside its peers on the same users: popularity, the transition counter, SASRec, one table.

``full`` takes evaluate runs of projects: ``--project P`` (the newest run of each; ``--run ID`` names others), one or several
seeds of the same settings. SASRec comes with ``--sasrec FOLDER``, a folder of ``benchmarks.sasrec_training`` on the same data.
``small`` makes the demo's shop, a model and a SASRec on the spot. Every method is taken on the users that all of them ranked.

Intervals are 95 % percentile bootstraps over users; leads are paired, over the same users; with several runs figures are means and
standard deviations over them, intervals and leads those of the first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.rows import Row, Subject, finish
from benchmarks.sasrec import SasrecSettings
from benchmarks.sasrec_training import CUTOFFS, METHOD, SasrecTraining, export, peer_data
from semconv import columns
from semconv.errors import InputError
from semconv.metrics import bootstrap_interval, paired_bootstrap
from semconv.progress import Silent
from semconv.runs.lineage import Lineage
from semconv.settings.evaluate import EvaluateSettings
from semconv.stages.evaluate.run import evaluate_current
from semconv.stages.evaluate.user_file import read_ranks
from semconv.stages.night import fit_all
from semconv_warehouse.project import Project

PACKAGES = ["torch", "transformers"]
OURS, COUNTER = "model", "transition"
DRAWS = {"samples": EvaluateSettings().bootstrap_samples, "confidence": 0.95, "seed": 0}
SMALL_SETTINGS = {
    "backbone.width": 32,
    "backbone.layers": 1,
    "backbone.mlp_width": 96,
    "codebook.levels": 3,
    "codebook.codes": 64,
    "tuning.epochs": 3,
    "tuning.validation_users": 0,
}


@dataclass(frozen=True)
class Evaluated:
    """One evaluate run."""

    name: str
    split: str
    ranks: Mapping[str, NDArray[np.int64]]  # method -> (U,) rank of the target, 0 for a miss

    @property
    def num_users(self) -> int:
        """Users that every method ranked."""
        return len(self.ranks[OURS])


def read_run(root: Path, run_id: str | None, sasrec: Path | None) -> Evaluated:
    """Ranks of an evaluate run, the newest one by default, and of SASRec for the same users.

    Raises:
        InputError: no such run, its split has no SASRec ranks, or no user is in both.
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
        return Evaluated(root.resolve().name, split, ranks)
    file = sasrec / f"ranks-{split}.parquet"
    if not file.is_file():
        raise InputError(f"{file}: missing; benchmarks.sasrec_training writes it when a training ends")
    peer = pq.read_table(file)
    of_user = dict(zip(peer[columns.USER_ID].to_pylist(), peer[METHOD].to_numpy(), strict=True))
    found = [of_user.get(user) for user in user_ids]
    is_both = np.array([rank is not None for rank in found])
    if not is_both.any():
        raise InputError(f"{file} and {run.run_id} have no user in common")
    kept = {name: values[is_both] for name, values in ranks.items()}
    kept[METHOD] = np.array([rank for rank in found if rank is not None], dtype=np.int64)
    return Evaluated(root.resolve().name, split, kept)


def small(folder: Path) -> Evaluated:
    """A demo shop with a model of a few epochs and a SASRec of a few more."""
    from semconv_warehouse.demo import demo
    from semconv_warehouse.demo.catalog import DemoShape, generate

    Project.init(folder, "# the demo's shop\n")
    shop = generate(DemoShape(users=400))
    demo.write_items(shop, folder / "items.jsonl")
    demo.write_interactions(shop, folder / "interactions.parquet")
    project = Project.open(folder, overrides=SMALL_SETTINGS, progress=Silent())
    project.ingest_items([folder / "items.jsonl"], {})
    project.ingest_interactions([folder / "interactions.parquet"], demo.INTERACTION_COLUMNS)
    fit_all(project.workspace)
    evaluate_current(project.workspace, project.workspace.lineage())
    peer = folder / METHOD
    peer.mkdir()
    training = SasrecTraining(peer_data(folder), SasrecSettings(dropout=0.2, batch=32), peer)
    training.run(epochs=20, patience=3)
    export(training, top_k=0)
    return read_run(folder, None, peer)


def rows_of(runs: Sequence[Evaluated]) -> list[Row]:
    """Every method's figures, the model beside each peer, and each method's paired lead over the transition counter."""
    first = runs[0]
    where = f"{first.name}, {first.split}, {first.num_users} users, {len(runs)} runs"
    rows = []
    for method in first.ranks:
        subject = Subject("quality", "" if method == OURS else method, PACKAGES)
        for name in CUTOFFS:
            ours, peer = (
                statistics.fmean(values_of(run, each, name).mean() for run in runs) for each in (OURS, method)
            )
            beside = {} if method == OURS else {"peer": peer or None}
            drawn = bootstrap_interval(values_of(first, OURS, name), **DRAWS)
            rows.append(
                subject.row(where, name, "mean over users", ours=ours, higher_is_better=True, interval=drawn, **beside)
            )
        if method != COUNTER:
            lead, low, high = lead_of(first, method)
            case = f"{where}: {method} less {COUNTER}"
            rows.append(Subject("quality", "", PACKAGES).row(case, "ndcg@10", "lead", ours=lead, interval=(low, high)))
    return rows


def markdown(runs: Sequence[Evaluated]) -> str:
    """One row a method, the best NDCG@10 first."""
    first = runs[0]
    head = ["method", *CUTOFFS, f"ndcg@10 less {COUNTER}"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for method in sorted(first.ranks, key=lambda each: -values_of(first, each, "ndcg@10").mean()):
        cells = [_cell(runs, method, name) for name in CUTOFFS]
        lead, low, high = lead_of(first, method)
        cells.append("" if method == COUNTER else f"{lead:+.4f} ({low:+.4f} to {high:+.4f})")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    title = f"# {first.name}: {first.split}, {first.num_users} users, {len(runs)} evaluate runs"
    return title + "\n\n" + "\n".join(lines) + "\n"


def values_of(run: Evaluated, method: str, name: str) -> NDArray[np.float64]:
    """A figure of each user."""
    metric, k = CUTOFFS[name]
    return metric(run.ranks[method], k)


def lead_of(run: Evaluated, method: str) -> tuple[float, float, float]:
    """How much larger NDCG@10 is than the transition counter's, with its paired interval."""
    return paired_bootstrap(values_of(run, method, "ndcg@10"), values_of(run, COUNTER, "ndcg@10"), **DRAWS)


def _cell(runs: Sequence[Evaluated], method: str, name: str) -> str:
    means = [float(values_of(run, method, name).mean()) for run in runs]
    if len(runs) > 1:
        return f"{statistics.fmean(means):.4f} ± {statistics.stdev(means):.4f}"
    low, high = bootstrap_interval(values_of(runs[0], method, name), **DRAWS)
    return f"{means[0]:.4f} ({low:.4f} to {high:.4f})"


def main() -> None:
    """Read or make the runs, print rows and the table; with --json keep both."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows there, and a table in Markdown beside it"
    )
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument(
        "--project", type=Path, action="append", default=[], help="whose evaluate run; repeat it for seeds"
    )
    parser.add_argument(
        "--run",
        action="append",
        default=[],
        metavar="ID",
        help="instead of a project's newest: one for each project, or several of the only one",
    )
    parser.add_argument("--sasrec", type=Path, metavar="FOLDER", help="of benchmarks.sasrec_training on the same data")
    given = parser.parse_args()
    if given.size == "full" and not given.project:
        parser.error("full needs --project with a finished evaluate run (`semconv evaluate` makes one)")
    if given.run and len(given.project) not in (1, len(given.run)):
        parser.error(f"{len(given.run)} --run for {len(given.project)} --project: name one for each, or one project")
    with tempfile.TemporaryDirectory() as folder:
        if given.size == "small":
            runs = [small(Path(folder) / "demo-shop")]
        elif given.run:
            projects = given.project * len(given.run) if len(given.project) == 1 else given.project
            runs = [read_run(*named, given.sasrec) for named in zip(projects, given.run, strict=True)]
        else:
            runs = [read_run(project, None, given.sasrec) for project in given.project]
        if len({tuple(run.ranks) for run in runs}) > 1 or len({run.split for run in runs}) > 1:
            parser.error("the runs are of several splits or have several sets of methods")
        finish(rows_of(runs), given.json)
        print(text := markdown(runs))
        if given.json is not None:
            given.json.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
