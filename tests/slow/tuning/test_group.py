"""Several processes train what one trains, in every mode, and the command under torchrun: gloo on the CPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from semconv.tuning.step_log import read_steps
from semconv_warehouse.project import Project
from tests.worlds import projects
from tests.worlds.tuning.group import KINDS, PLAIN, RESUMED, STOPPED, WEIGHTS
from tests.worlds.tuning.group_checks import QUICK, alone, require_same, require_same_weights, trained
from tests.worlds.tuning.launch import LAUNCH, finetune, launched, losses
from tests.worlds.tuning.training import Case

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [*KINDS, *RESUMED, *STOPPED, "half", "wild"]
    return trained(tmp_path_factory.mktemp("together"), *[name for name in names if name not in QUICK])


@pytest.mark.parametrize("name", [name for name in KINDS if name not in QUICK])
def test_two_processes_have_the_loss_of_one(together: Path, tmp_path: Path, name: str) -> None:
    other = alone(tmp_path / "alone", *KINDS[name])
    require_same(together / name, other)
    require_same_weights(together / name, other)


@pytest.mark.parametrize("name", [name for name in RESUMED if name not in QUICK])
def test_two_processes_continue_a_training_of_one(together: Path, tmp_path: Path, name: str) -> None:
    require_same(together / name, alone(tmp_path / "alone"))


@pytest.mark.parametrize("name", list(STOPPED))
def test_one_process_continues_a_training_of_two(together: Path, tmp_path: Path, name: str) -> None:
    plain = alone(tmp_path / "alone")
    shutil.copytree(together / name, tmp_path / name)
    half_way = len(losses(tmp_path / name))
    assert 0 < half_way < len(losses(plain.folder))
    Case(tmp_path / name, PLAIN).run()
    require_same(tmp_path / name, plain)


def test_shards_in_half_precision_learn_with_master_weights_in_full(together: Path) -> None:
    weights = load_file(together / "fsdp-half" / WEIGHTS)
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in weights.values())
    found = losses(together / "fsdp-half")
    assert sum(found[-3:]) < sum(found[:3])


def test_a_loss_that_breaks_ends_every_process_alike(together: Path) -> None:
    first, second = ((together / f"error-{rank}").read_text() for rank in (0, 1))
    assert first == second
    assert "is nan at step" in first


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = projects.make_project(tmp_path / "project")
    for command in (made.backbone_create, made.embed_behavior, made.embed_text, made.codebook_fit):
        command()
    return made.layout.root


def run_folder(project: Path) -> Path:
    (folder,) = (project / "data" / "runs").glob("finetune-*")
    return folder


def test_the_command_tunes_a_project_under_torchrun(project: Path, tmp_path: Path) -> None:
    options = ("--set", "tuning.dropout=0", "--batch-tokens", "256")
    other = shutil.copytree(project, tmp_path / "other")
    done = launched(*finetune(project, *options))
    assert done.stdout.count("status") == 1  # only the first process prints
    subprocess.run([sys.executable, *finetune(other, *options)], check=True, capture_output=True)
    assert losses(run_folder(project)) == pytest.approx(losses(run_folder(other)), abs=2e-4)
    again = launched(*finetune(project, "--parallel", "fsdp", *options))  # reused: no process waits forever
    assert again.stdout.splitlines()[0] == done.stdout.splitlines()[0]
    refused = launched("-m", "semconv_cli", "--project", str(project), "check", code=1)
    assert "only `semconv finetune` runs in several processes of torchrun" in refused.stderr
    Project.open(project).recommend(split="test")  # the saved model is complete


def test_a_process_that_dies_ends_all_and_the_command_goes_on(project: Path) -> None:
    options = ("--epochs", "8", "--batch-tokens", "256")
    with subprocess.Popen([*LAUNCH, *finetune(project, *options)], stderr=subprocess.PIPE, text=True) as launch:
        wait_for(lambda: list((project / "data" / "runs").glob("finetune-*/checkpoint.safetensors")))
        follower(launch.pid).kill()
        error = launch.communicate(timeout=120)[1]
    assert launch.returncode == 1
    assert "Signal 9 (SIGKILL)" in error
    assert not psutil.pid_exists(launch.pid)
    run = Project.open(project).store.runs(stage="finetune")[0]
    assert run.status in ("running", "failed")
    begun = len(read_steps(run_folder(project)))
    subprocess.run([sys.executable, *finetune(project, *options)], check=True, capture_output=True)
    assert len(losses(run_folder(project))) > begun > 0
    assert Project.open(project).store.runs(stage="finetune")[0].status == "finished"


def wait_for(condition: Any) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("waited too long")


def follower(launch: int) -> psutil.Process:
    return next(child for child in psutil.Process(launch).children() if child.environ().get("RANK") == "1")
