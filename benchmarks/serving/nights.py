"""The size of a project over many nights, each with new interactions of 1 % of the users, `run` and `prune`.

The size `small` is a demo shop of 300 users, ten nights and three kept generations. The size `full` is thirty nights and
seven kept generations, on a copy of the tuned project that SEMCONV_BENCH_PROJECT names. There is no peer. Sizes are those
of `data/` after the night's `prune`, also relative to the kept generation files.
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

from benchmarks.rows import Comparison, Row, Size, command
from semconv.progress import Silent
from semconv_warehouse.demo.catalog import DemoShape
from semconv_warehouse.demo.demo import run_demo
from semconv_warehouse.project import Project

ALONE = Comparison("nights", "", ["duckdb", "feast"])
SHARE = 0.01  # of the users have a new interaction each night
PROJECT = "SEMCONV_BENCH_PROJECT"


@dataclass(frozen=True)
class Night:
    """The project after a night."""

    usage: dict[str, int]  # bytes of each part of data/, total last
    generations: int  # kept files
    kept: int  # bytes of the kept generations: their files, their own runs, their feature files
    processor_seconds: float


def run(size: Size) -> list[Row]:
    """Measure all nights, and report the last and the largest one."""
    nights, keep = (10, 3) if size == "small" else (30, 7)
    with tempfile.TemporaryDirectory(dir=os.environ.get("SEMCONV_BENCH_SCRATCH")) as folder:
        root = Path(folder) / "project"
        if size == "small":
            run_demo(root, Silent(), DemoShape(users=300))
        elif named := os.environ.get(PROJECT):
            shutil.copytree(named, root)
        else:
            sys.exit(f"{PROJECT} is not set; let it name a tuned project")
        history = list(live(root, nights, keep))
    return list(figures(f"{nights} nights, {keep} kept", history))


def figures(case: str, history: list[Night]) -> Iterator[Row]:
    """Yield the sizes after the last night, the largest ones once all generations are kept, and the time of a night."""
    last, full = history[-1], history[-1].generations
    for name, number in last.usage.items():
        yield ALONE.row(case, f"{name} at the end", "bytes", ours=number)
    yield ALONE.row(case, "generations kept", "files", ours=last.generations)
    yield ALONE.row(case, "kept generations with their runs and features", "bytes", ours=last.kept)
    whole = [night for night in history if night.generations == full]
    of_files = [night.usage["total"] / night.usage["generations"] for night in whole]
    yield ALONE.row(case, "data by generation files, at the end", "times", ours=of_files[-1])
    yield ALONE.row(case, "data by generation files, largest", "times", ours=max(of_files))
    of_kept = [night.usage["total"] / night.kept for night in whole]
    yield ALONE.row(case, "data by kept generations, at the end", "times", ours=of_kept[-1])
    yield ALONE.row(case, "data by kept generations, largest", "times", ours=max(of_kept))
    seconds = float(np.median([night.processor_seconds for night in history]))
    yield ALONE.row(case, "a night", "processor seconds", ours=seconds)


def live(root: Path, nights: int, keep: int) -> Iterator[Night]:
    """Run night after night, and yield the project after each. Each night opens the project, as scheduled commands do."""
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
    """Draw users, and for each a later interaction with an item that is new to the user."""
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
    command(run, __doc__)
