"""kill -9 in every stage, then a plain rerun: the same tables as of an undisturbed run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds import projects as case
from tests.worlds.places import ROOT

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
SAME = {
    "recommendation": "SELECT generation, user_id, rank, item_id, score, sources, reason_item_id FROM recommendation",
    "item_code": "SELECT item_id, codes, semantic_id, vector_source, is_reassigned FROM item_code",
    "item_embedding": "SELECT item_id, vector_source, vector FROM item_embedding",
    "user_embedding": "SELECT user_id, vector_source, vector FROM user_embedding",
    "metric": "SELECT method, split, segment, train_cut, seen, name, k, value, ci_low, ci_high, num_users,"
    f" {case.PROTOCOL} FROM metric",
    "item": "SELECT * FROM item",
    "user_history": "SELECT * FROM user_history",
    "run": "SELECT stage, status, fingerprint FROM run",
}


def published(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(root / "data" / "serving.duckdb"), read_only=True) as connection:
        return {name: connection.execute(f"{sql} ORDER BY ALL").fetchall() for name, sql in SAME.items()}


def output_of_kills(root: Path, seed: int, *words: str) -> list[str]:
    command = [sys.executable, "-m", "tests.worlds.kill", root, str(seed), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def run_with_kills(root: Path, seed: int, stages: tuple[str, ...]) -> list[int]:
    return [int(line.rsplit(":", 1)[1]) for line in output_of_kills(root, seed, *stages)]


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
def undisturbed(ingested: Path) -> Path:
    root = ingested.parent / "undisturbed"
    shutil.copytree(ingested, root)
    assert run_with_kills(root, 0, ()) == []
    return root


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_in_every_stage(ingested: Path, undisturbed: Path, seed: int) -> None:
    root = ingested.parent / f"every-{seed}"
    shutil.copytree(ingested, root)
    assert run_with_kills(root, seed, STAGES).count(-9) >= len(STAGES) // 2
    require_same(root, undisturbed)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return listed.make_tuned(tmp_path_factory.mktemp("lists") / "tuned")


@pytest.mark.parametrize(
    ("seed", "kills", "shard_users"),
    [(0, 2, 4), *(pytest.param(seed, 20, 1, marks=pytest.mark.slow) for seed in (1, 2))],
)
def test_lists_of_a_job_that_is_killed_again_and_again_are_those_of_an_undisturbed_one(
    tuned: Path, tmp_path: Path, seed: int, kills: int, shard_users: int
) -> None:
    settings = listed.SETTINGS.replace("shard_users = 4", f"shard_users = {shard_users}")
    undisturbed = listed.copied(tuned, tmp_path / "undisturbed", settings)
    undisturbed.recommend()
    undisturbed.publish()
    project = listed.copied(tuned, tmp_path / "killed", settings)
    attempts = [json.loads(line) for line in output_of_kills(project.layout.root, seed, "--lists", str(kills))]
    assert [attempt["status"] for attempt in attempts] == [-9] * kills
    runs = [run for run in project.runs() if run["stage"] == "recommend"]
    assert [run["status"] for run in runs] == ["finished"]
    final = listed.parts(project, project.workspace.need("recommend"))
    assert len(final) == -(-listed.NUM_USERS // shard_users)
    for attempt in attempts:  # what was finished once is never computed again
        assert attempt["parts"].items() <= final.items()
    assert published(project.layout.root) == published(undisturbed.layout.root)
    assert [result.summary() for result in project.check() if not result.passed] == []
    assert not list(project.layout.root.rglob("*.tmp"))
