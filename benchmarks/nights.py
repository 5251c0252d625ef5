"""The size of a project after many nights: new interactions of one user in a hundred, `run`, `prune --keep 7`.

Small is a demo shop of 300 customers, ten nights, three kept. Full is thirty nights on a copy of the project
that SEMCONV_BENCH_PROJECT names, tuned already and never changed itself. Nothing stands beside it. Sizes are of
``data/`` after a night's prune, and beside the generation files that it kept.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.rows import Row, Size, Subject, command
from semconv.progress import Silent
from semconv_warehouse.demo.catalog import DemoShape
from semconv_warehouse.demo.demo import run_demo
from semconv_warehouse.project import Project

SUBJECT = Subject("nights", "", ["duckdb", "feast"])
SHARE = 0.01  # of the users have something new each night
PROJECT = "SEMCONV_BENCH_PROJECT"


@dataclass(frozen=True)
class Night:
    """What lay there after a night."""

    usage: dict[str, int]  # bytes by part of data/, total last
    generations: int  # files kept
    kept: int  # bytes of what the kept generations are: files, their own runs, their feature files
    processor_seconds: float


def run(size: Size) -> list[Row]:
    """Rows about the last night and the largest one."""
    nights, keep = (10, 3) if size == "small" else (30, 7)
    with tempfile.TemporaryDirectory(dir=os.environ.get("SEMCONV_BENCH_SCRATCH")) as folder:
        root = Path(folder) / "project"
        if size == "small":
            run_demo(root, Silent(), DemoShape(users=300))
        elif named := os.environ.get(PROJECT):
            shutil.copytree(named, root)
        else:
            sys.exit(f"{PROJECT} names no project; nothing to measure")
        history = list(live(root, nights, keep))
    return list(figures(f"{nights} nights, {keep} kept", history))


def figures(case: str, history: list[Night]) -> Iterator[Row]:
    """Sizes after the last night, the largest of all nights once enough generations are there, and a night's time."""
    last, full = history[-1], history[-1].generations
    for name, number in last.usage.items():
        yield SUBJECT.row(case, f"{name} at the end", "bytes", ours=number)
    yield SUBJECT.row(case, "generations kept", "files", ours=last.generations)
    yield SUBJECT.row(case, "kept generations with their runs and features", "bytes", ours=last.kept)
    whole = [night for night in history if night.generations == full]
    of_files = [night.usage["total"] / night.usage["generations"] for night in whole]
    yield SUBJECT.row(case, "data by generation files, at the end", "times", ours=of_files[-1])
    yield SUBJECT.row(case, "data by generation files, largest", "times", ours=max(of_files))
    of_kept = [night.usage["total"] / night.kept for night in whole]
    yield SUBJECT.row(case, "data by kept generations, at the end", "times", ours=of_kept[-1])
    yield SUBJECT.row(case, "data by kept generations, largest", "times", ours=max(of_kept))
    yield SUBJECT.row(
        case,
        "a night",
        "processor seconds",
        ours=float(np.median([night.processor_seconds for night in history])),
    )


def live(root: Path, nights: int, keep: int) -> Iterator[Night]:
    """Night after night on a project; each opens it anew, as a scheduler's commands do."""
    rng = np.random.default_rng(0)
    overrides = {"evaluate.max_users": 1000, "evaluate.bootstrap_samples": 50}
    for number in range(nights):
        started = time.process_time()
        project = Project.open(root, overrides=overrides)
        file = root / f"night-{number}.parquet"
        new_interactions(project, rng, number).write_parquet(file)
        project.ingest_interactions([file], {})
        file.unlink()
        project.run()
        project.prune(keep, False)
        rows = [row for row in project.generations() if row["bytes"]]
        kept = sum(row["bytes"] + row["run_bytes"] + row["feature_bytes"] for row in rows)
        night = Night(project.disk_usage(), len(rows), kept, time.process_time() - started)
        print(f"night {number + 1}: {night}", file=sys.stderr, flush=True)
        yield night


def new_interactions(project: Project, rng: np.random.Generator, number: int) -> pl.DataFrame:
    """One interaction of each of some users with an item that they did not have, later than all of theirs."""
    sequences, catalog = project.store.sequences(), project.store.catalog()
    users = rng.choice(len(sequences), max(1, int(SHARE * len(sequences))), replace=False)
    items = [int(rng.choice(np.setdiff1d(np.flatnonzero(catalog.is_servable), sequences.of(user)))) for user in users]
    return pl.DataFrame(
        {
            "user_id": [sequences.user_ids[user] for user in users],
            "item_id": [catalog.item_ids[item] for item in items],
            "event_time": [datetime(2090, 1, 1, tzinfo=UTC) + timedelta(days=number)] * len(users),
            "source_position": [int(sequences.lengths[user]) for user in users],
        }
    )


if __name__ == "__main__":
    command(run)
