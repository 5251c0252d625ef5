"""The small shop after a published night, damaged, and the night that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from semconv.stages.lists.current import newest_lists
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds import projects as case
from tests.worlds.faults.damage import Damage

ROWS = "SELECT user_id, rank, item_id, score, sources, reason_item_id FROM recommendation ORDER BY user_id, rank"


def make_published(folder: Path) -> Path:
    """Make a tuned shop and do one night."""
    project = listed.copied(listed.make_tuned(folder / "tuned"), folder / "published")
    project.publish_due(refit=False)
    return project.layout.root


def change_one_history(project: Project) -> Path:
    """Give one user another interaction."""
    late = case.write_lines(project.layout.root / "late.jsonl", case.events({case.user_id(4): [7]}, start=50))
    project.ingest_interactions([late], {})
    return project.layout.root


def night(project: Project) -> list[dict[str, Any]]:
    case.reopened(project).publish_due(refit=False)
    rows: list[dict[str, Any]] = project.sql(ROWS).to_pylist()
    assert [check.summary() for check in project.check() if not check.passed] == []
    return rows


def part_of(project: Project, number: int) -> Path:
    """Of the newest lists for serving; those of the split test are newer, and nothing of them is published."""
    folder: Path = project.book.folder(newest_lists(project.workspace))
    return folder / f"part-{number:05d}.parquet"


def require_healed(project: Project, artifact: tuple[str, str], damage: Damage, way_out: str) -> None:
    """Damage a file of a stage: every command that reads it names the one that heals it, and that one does."""
    stage, name = artifact
    path = project.book.folder(project.workspace.need(stage)) / name
    served = project.sql(ROWS).to_pylist()
    damage(path)
    root = str(project.layout.root)
    result = CliRunner().invoke(cli, ["--project", root, "recommend", "--split", "valid"])
    assert result.exit_code == 4, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert str(path) in line
    assert f"recompute it with `semconv {way_out}`" in line
    assert project.sql(ROWS).to_pylist() == served
    checked = CliRunner().invoke(cli, ["--project", root, "check"])
    assert checked.exit_code == 1, checked.output
    assert f"{path}: damaged or missing" in checked.stderr
    assert f"`semconv {way_out}`" in checked.stderr
    if way_out == "finetune":
        assert CliRunner().invoke(cli, ["--project", root, "finetune"]).exit_code == 0
    else:
        case.reopened(project).publish_due(refit=True)
    healed = case.reopened(project)
    rows = listed.lists(healed, healed.recommend(split="valid")).to_pylist()
    assert len({row["user_id"] for row in rows if row["sources"] == ["model"]}) > case.NUM_USERS // 2
    assert len(night(project)) == len(served)
