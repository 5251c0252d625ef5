"""A new file with users needs one entry in the list of artifacts; all commands that treat run files then know it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semconv.artifacts import read_arrays, write_arrays
from semconv.runs import files
from semconv.runs.digests import damaged_files, write_complete
from semconv.runs.files import Artifact, Kind
from semconv.runs.user_data import IndexedRows
from semconv_warehouse.project import Project
from tests.worlds.erasing import copied, person, template

HOLDS_USERS = IndexedRows(index="of", arrays=("ages",))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with two new files in a finished run: a result and a training state, both with a row for each user."""
    project = copied(template(), tmp_path / "project")
    new = (
        Artifact("ages.safetensors", ("embed_behavior",), user_data=HOLDS_USERS),
        Artifact("ages_state.safetensors", ("embed_behavior",), Kind.TRAINING_STATE, HOLDS_USERS),
    )
    monkeypatch.setattr(files, "ARTIFACTS", (*files.ARTIFACTS, *new))
    folder = project.layout.runs / "embed-1"
    for artifact in new:
        write_arrays(folder / artifact.pattern, {"of": np.array([2, 0, 3]), "ages": np.array([20, 30, 40])})
    write_complete(folder, tables=[], content={})
    return project


def ages(project: Project, name: str) -> dict[int, int]:
    arrays = read_arrays(project.layout.runs / "embed-1" / name)
    return dict(zip(arrays["of"].tolist(), arrays["ages"].tolist(), strict=True))


def test_checksums_and_check_find_damage(project: Project) -> None:
    folder = project.layout.runs / "embed-1"
    assert all(result.passed for result in project.check())
    (folder / "ages.safetensors").unlink()
    assert damaged_files(folder) == ["ages.safetensors"]
    (failed,) = [result for result in project.check() if not result.passed]
    assert failed.name == "run_files"
    assert failed.examples[0]["file"] == str(folder / "ages.safetensors")


def test_forget_erases_the_user_and_updates_the_checksum(project: Project) -> None:
    rows = project.forget([person(0)])["rows"]
    assert rows["arrays"] == 5  # a vector, a sample, a state, and a row of each new file
    assert ages(project, "ages.safetensors") == ages(project, "ages_state.safetensors") == {2: 20, 3: 40}
    assert damaged_files(project.layout.runs / "embed-1") == []


def test_prune_deletes_the_training_state_of_the_finished_run(project: Project) -> None:
    folder = project.layout.runs / "embed-1"
    sizes = project.prune(3, False)["sizes"]
    assert [row["name"] for row in sizes if row["kind"] == "training state"] == ["embed-1/ages_state.safetensors"]
    assert not (folder / "ages_state.safetensors").exists()
    assert (folder / "ages.safetensors").exists()
    assert all(result.passed for result in project.check())
