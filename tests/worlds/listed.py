"""A small shop with a tuned model and no lists yet, one user of unknown items and one who has everything."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from semconv.data.store import RunRecord
from semconv.stages.night import fit_all
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.once import made_once
from tests.worlds.parts import read_parts

SETTINGS = case.SETTINGS.replace("shard_users = 30", "shard_users = 4")
NUM_USERS = case.NUM_USERS + 2
NUM_SHARDS = -(-NUM_USERS // 4)
COLD, HAS_ALL = "cold", "has all"
UNKNOWN = ("x0", "x1", "x2")  # items that nobody described and that have no codes


def make_tuned(root: Path) -> Path:
    """The project folder."""
    return Path(shutil.copytree(made_once("tuned", _make), root))


def _make(folder: Path) -> None:
    project = case.make_project(folder, settings=SETTINGS)
    fit_all(project.workspace)
    rows: list[dict[str, Any]] = case.events({HAS_ALL: list(range(case.NUM_ITEMS))})
    rows += [{"user_id": COLD, "item_id": item, "source_position": place} for place, item in enumerate(UNKNOWN)]
    root = project.layout.root
    project.ingest_interactions([case.write_lines(root / "inputs" / "odd.jsonl", rows)], {})


def copied(root: Path, to: Path, settings: str = SETTINGS) -> Project:
    shutil.copytree(root, to)
    (to / "semconv.toml").write_text(settings)
    return Project.open(to, progress=case.Remarks())


def lists(project: Project, run: RunRecord) -> pa.Table:
    return read_parts(project.book.folder(run))


def parts(project: Project, run: RunRecord) -> dict[str, int]:
    """Name of each part -> when it was written, to the nanosecond; inodes are given out again."""
    return {path.name: path.stat().st_mtime_ns for path in sorted(project.book.folder(run).glob("part-*.parquet"))}


ALWAYS = SETTINGS.replace('use = "never"', 'use = "always"')
