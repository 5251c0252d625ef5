"""kill -9 in every stage, then a plain rerun: the tables are those of an undisturbed run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds import projects as case
from tests.worlds.command import Commands
from tests.worlds.faults.killed_lists import SAME, output_of_kills, published, require_lists_survive_kills

STAGES = (
    "backbone ...",
    "embed_behavior ...",
    "embed_text ...",
    "codebook ...",
    "finetune ...",
    "epoch 1: ",
    "epoch 2: ",
    "recommend ...",
    "evaluate ...",
    "evaluate: ",  # publishing
    "generation ",  # features
)
SETTINGS = case.SETTINGS.replace("epochs = 1", "epochs = 3").replace("batch_tokens = 2048", "batch_tokens = 700")


def run_with_kills(commands: Commands, root: Path, seed: int, stages: tuple[str, ...]) -> list[int]:
    return [int(line.rsplit(":", 1)[1]) for line in output_of_kills(commands, root, seed, *stages)]


def require_same(root: Path, undisturbed: Path) -> None:
    ours, theirs = published(root), published(undisturbed)
    for name in SAME:
        assert ours[name] == theirs[name], name
    project = Project.open(root)
    assert [result.summary() for result in project.check() if not result.passed] == []
    assert all(row["ok"] for row in project.doctor())
    assert len(project.generations()) == 1
    assert project.features_status()["is_current"]
    assert {run["status"] for run in project.runs()} == {"finished"}
    assert not list(root.rglob("*.tmp"))


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return case.make_project(tmp_path_factory.mktemp("kills") / "ingested", settings=SETTINGS).layout.root


@pytest.fixture(scope="module")
def undisturbed(commands: Commands, ingested: Path) -> Path:
    root = ingested.parent / "undisturbed"
    shutil.copytree(ingested, root)
    assert run_with_kills(commands, root, 0, ()) == []
    return root


@pytest.mark.parametrize("seed", range(3))
def test_killed_in_every_stage(commands: Commands, ingested: Path, undisturbed: Path, seed: int) -> None:
    root = ingested.parent / f"every-{seed}"
    shutil.copytree(ingested, root)
    assert run_with_kills(commands, root, seed, STAGES).count(-9) >= len(STAGES) // 2
    require_same(root, undisturbed)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return listed.make_tuned(tmp_path_factory.mktemp("lists") / "tuned")


@pytest.mark.parametrize(("seed", "kills", "shard_users"), [(1, 20, 1), (2, 20, 1)])
def test_lists_of_a_job_that_is_killed_again_and_again_are_those_of_an_undisturbed_one(
    commands: Commands, tuned: Path, tmp_path: Path, seed: int, kills: int, shard_users: int
) -> None:
    require_lists_survive_kills(commands, tuned, tmp_path, seed, kills, shard_users)
