"""Discard a model or a blend: the one before it is current again, and nothing that is served is discarded."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds import projects as case
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
    assert f"generation 1, which is served, was made from {first}" in refused(root)
    assert "is no finished tuning and no finished blend" in refused(
        root, Project.open(root).workspace.need("recommend").run_id
    )
    assert "no run nothing" in refused(root, "nothing")
    for command in ("finetune", "recommend"):
        done(root, *WORSE, command)
    second = current(root)
    done(root, "publish", "--force")
    assert f"generation 2, which is served, was made from {second}" in refused(root)
    done(root, "publish", "--rollback")
    assert f"generation 1, which is served, was made from {first}" in refused(root, first)
    assert done(root, "discard", second)["current"] == first
    assert "is no finished tuning and no finished blend" in refused(root, second)


def test_nothing_is_discarded_if_nothing_else_could_take_its_place(tmp_path: Path) -> None:
    root = listed.make_tuned(tmp_path / "project")
    only = current(root)
    assert f"there is no other model than {only} that could take its place" in refused(root)
    rows = case.events({"u001": [5, 6], "u002": [7, 8]}, start=90)
    Project.open(root).ingest_interactions([case.write_lines(tmp_path / "more.jsonl", rows)], {})
    done(root, "finetune", "--from", "current")
    continued = current(root)
    assert continued != only
    # The continued model was made from the first one, and would be discarded with it.
    assert f"there is no other model than {only} that could take its place" in refused(root, only)
    assert done(root, "discard") == {"discarded": [continued], "current": only}


def test_a_model_whose_files_were_pruned_is_passed_over(root: Path) -> None:
    first = current(root)
    for seed in ("7", "8"):
        done(root, "--set", f"tuning.seed={seed}", "finetune")
    newest = current(root)
    (pruned,) = (run for run in runs(root) if run.startswith("finetune") and run not in (first, newest))
    shutil.rmtree(Project.open(root).book.folder(Project.open(root).workspace.run(pruned)))
    found = done(root, "discard")
    assert found == {"discarded": [newest, pruned], "current": first}
    assert current(root) == first


def test_a_blend_is_replaced_by_another_one_of_the_same_model(root: Path) -> None:
    first = done(root, "blend")["run_id"]
    assert f"there is no other blend than {first} that could take its place" in refused(root, first)
    second = done(root, "blend", "--candidates", "59")["run_id"]
    assert done(root, "discard", second) == {"discarded": [second], "current": first}
    done(root, *WORSE, "finetune")
    other = done(root, "blend")["run_id"]
    assert f"there is no other blend than {other} that could take its place" in refused(root, other)
