"""Discard a model or a blend: the one before it is current again, and nothing that is served is discarded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds.gated import done, semconv

WORSE = ("--set", "tuning.seed=7")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project that serves the lists of its only model."""
    root = listed.make_tuned(tmp_path / "project")
    (root / "semconv.toml").write_text(listed.SETTINGS[: listed.SETTINGS.index("[gates]")])
    for command in ("recommend", "publish"):
        done(root, command)
    return root


def current(root: Path) -> str:
    return Project.open(root).workspace.lineage().ranker.run_id


def runs(root: Path) -> dict[str, Any]:
    return {run["run_id"]: run for run in Project.open(root).runs()}


def refused(root: Path, *words: str) -> str:
    before = runs(root)
    result = semconv(root, "discard", *words)
    assert result.exit_code == 4, result.stderr
    assert runs(root) == before
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return line


def test_the_earlier_model_is_current_again_and_the_same_command_takes_the_later_one_back(root: Path) -> None:
    first, lists = current(root), Project.open(root).workspace.need("recommend").run_id
    for command in ("finetune", "blend", "recommend"):
        done(root, *WORSE, command)
    second, made = current(root), Project.open(root)
    assert second != first
    later = [made.workspace.need(stage).run_id for stage in ("recommend", "blend", "finetune")]
    found = done(root, "discard")
    assert found == {"discarded": later, "current": first}
    assert [runs(root)[name]["status"] for name in later] == ["failed"] * 3
    assert "discarded" in runs(root)[second]["error"]
    assert done(root, "recommend")["run_id"] == lists
    assert done(root, "publish")["is_new"] is False
    done(root, "check")
    files = {path: path.stat().st_mtime_ns for path in made.book.folder(made.workspace.run(second)).rglob("model*")}
    assert files
    assert done(root, *WORSE, "finetune")["run_id"] == second
    assert current(root) == second
    assert {path: path.stat().st_mtime_ns for path in files} == files  # nothing was trained again


def test_only_a_model_that_is_not_served_and_has_one_before_it_is_discarded(root: Path) -> None:
    first = current(root)
    assert "is the only finetune of the project" in refused(root)
    assert "is not a finished tuning or blend" in refused(root, Project.open(root).workspace.need("recommend").run_id)
    assert "no run nothing" in refused(root, "nothing")
    for command in ("finetune", "recommend"):
        done(root, *WORSE, command)
    second = current(root)
    done(root, "publish", "--force")
    assert f"generation 2, which is served, was made from {second}" in refused(root)
    done(root, "publish", "--rollback")
    assert f"generation 1, which is served, was made from {first}" in refused(root, first)
    assert done(root, "discard", second)["current"] == first
    assert "is not a finished tuning or blend" in refused(root, second)
