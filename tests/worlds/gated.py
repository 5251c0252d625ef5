"""The small shop with published lists of another program: cheap to make, because no model is tuned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from click.testing import CliRunner, Result

from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.once import made_once
from tests.worlds.published import recommendation_rows

LENGTH = 5
EVERYONE = tuple(case.user_id(user) for user in range(case.NUM_USERS))


def make_gated(root: Path) -> Path:
    """Copy the project with generation 1: a list for each of 80 users, with all 60 items among them."""
    template = made_once("published-external-lists", _publish_first)
    shutil.copytree(template, root)
    serving = root / "data" / "serving.duckdb"
    serving.unlink()
    serving.hardlink_to(root / "data" / "generations" / "000001.duckdb")
    return root


def _publish_first(folder: Path) -> None:
    project = case.make_project(folder)
    project.recommend_load([write_lists(folder / "inputs" / "all.parquet")])
    assert project.publish().generation == 1


def write_lists(
    path: Path, users: Iterable[str] = EVERYONE, *, items: int = case.NUM_ITEMS, shift: int = 0, length: int = LENGTH
) -> Path:
    """Write lists of ``length`` items that a user does not have, from the first ``items`` items."""
    histories = case.histories()
    lists = {}
    for user in users:
        start = int(user[1:]) + shift
        pool = [(start + step) % items for step in range(items)]
        lists[user] = [case.item_id(number) for number in pool if number not in histories[user]][:length]
    pq.write_table(recommendation_rows(lists).drop_columns(["reason_item_id"]), path)
    return path


def semconv(root: Path, *words: object) -> Result:
    return CliRunner().invoke(cli, ["--project", str(root), *map(str, words)])


def done(root: Path, *words: object) -> Any:
    """Run a command that succeeds, and return its JSON."""
    result = semconv(root, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def state(root: Path) -> dict[str, Any]:
    """Return everything that a refused command must leave alone."""
    project = Project.open(root)
    layout = project.layout
    return {
        "served": (layout.serving.stat().st_ino, layout.serving.stat().st_mtime_ns),
        "files": sorted(path.name for path in layout.generations.iterdir()),
        "tables": {
            table: case.rows(project, f"SELECT * FROM {table} ORDER BY ALL")
            for table in ("item", "interaction", "generation", "publication", "project_setting")
        },
    }


def refused(root: Path, *words: object) -> list[str]:
    """Run a command that a gate refuses, and return its errors. Everything is as it was before."""
    before = state(root)
    result = semconv(root, *words)
    assert result.exit_code == 1, (result.exit_code, result.stdout, result.stderr)
    assert state(root) == before
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert lines, result.stderr
    assert all("gate " in line and "--force" in line and "gates." in line for line in lines), lines
    return lines


def forced(root: Path) -> dict[int, list[str]]:
    """Return the overridden gates of each generation, as `semconv generations` shows them."""
    rows = done(root, "generations")
    return {row["generation"]: [entry["gate"] for entry in row["forced"]] for row in rows if row["forced"]}
