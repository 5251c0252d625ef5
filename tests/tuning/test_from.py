"""Tuning from an earlier run by its command: new samples, reuse, and interrupted runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semconv.artifacts import read_arrays
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.tuning.from_run import Stopping, grow, start_of, tuned_by


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a tuned model and no newer data."""
    project = case.make_coded_project(tmp_path_factory.mktemp("from") / "project")
    project.finetune()
    return project.layout.root


@pytest.fixture
def root(tuned: Path, tmp_path: Path) -> Path:
    shutil.copytree(tuned, tmp_path / "project")
    return tmp_path / "project"


def weights(root: Path, run: dict[str, Any]) -> dict[str, Any]:
    return dict(read_arrays(root / run["artifact_path"] / "model" / "model.safetensors"))


def test_nothing_new_leaves_the_run_as_it_is(root: Path) -> None:
    start = start_of(root)
    for name in (start, "current"):
        record, said = tuned_by(root, "--from", name)
        assert record["run_id"] == start
        assert f"nothing is new since {start}" in said
    assert [run.run_id for run in Project.open(root).store.runs(stage="finetune")] == [start]


def test_validation_items_that_moved_into_the_train_cut_and_new_items_are_tuned_on(root: Path) -> None:
    start = start_of(root)
    grow(root)
    record, said = tuned_by(root, "--from", start, "--replay", "0")
    # Of the 10 users, 2 took an item that is not in the 2-core of the train cut.
    assert f"new since {start}: 8 positions, 2 texts, 3 queries; each epoch trains on these" in said
    figures = json.loads((root / record["artifact_path"] / "figures.json").read_text())
    assert figures["epochs_before"] == 1
    assert 8 <= figures["samples"] <= 8 + 8 + 2 + 3  # each position with or without its negative
    assert record["settings"]["from"] == {"replay": 0.0, "learning_rate": pytest.approx(5e-4)}
    assert record["settings"]["tuning"]["learning_rate"] == 1.5e-3
    assert [stage for stage in ("assign", start) if any(run.startswith(stage) for run in record["inputs"])] == [
        "assign",
        start,
    ]


def test_the_same_again_is_reused_and_the_next_one_finds_nothing_new(root: Path) -> None:
    start = start_of(root)
    grow(root)
    first, _ = tuned_by(root, "--from", start)
    again, _ = tuned_by(root, "--from", start)
    assert again["run_id"] == first["run_id"] != start
    after, said = tuned_by(root, "--from", "current")
    assert after["run_id"] == first["run_id"]
    assert "nothing is new" in said
    other, _ = tuned_by(root, "--from", start, "--replay", "0.9")
    assert other["run_id"] != first["run_id"]


def test_a_tuning_from_the_start_reads_neither_share_nor_rate(root: Path) -> None:
    start = start_of(root)
    record, _ = tuned_by(root, "--set", "tuning.replay=0.9", "--set", "tuning.from_learning_rate=1e-4")
    assert record["run_id"] == start


def test_an_interrupted_run_ends_with_the_same_weights(root: Path, tmp_path: Path) -> None:
    grow(root)
    shutil.copytree(root, tmp_path / "other")
    settings = {"tuning.epochs": 3, "tuning.replay": 0.5}
    with pytest.raises(KeyboardInterrupt):
        Project.open(root, overrides=settings, progress=Stopping("epoch 2:")).finetune(from_run="current")
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    resumed, whole = (tuned_by(folder, "--from", "current", *options)[0] for folder in (root, tmp_path / "other"))
    assert len(Project.open(root).store.runs(stage="finetune")) == 2  # the start, and one that was resumed
    ours, theirs = weights(root, resumed), weights(tmp_path / "other", whole)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    figures = [
        json.loads((folder / run["artifact_path"] / "figures.json").read_text())
        for folder, run in ((root, resumed), (tmp_path / "other", whole))
    ]
    assert figures[0]["samples"] == figures[1]["samples"]
    assert figures[0]["validations"] == figures[1]["validations"]


def test_another_code_set_is_refused(root: Path) -> None:
    start = start_of(root)
    Project.open(root, overrides={"codebook.seed": 7}).codebook_fit()
    result = case.finetune(root, "--from", start, code=4)
    assert "was tuned on another code set than" in result.stderr
