"""Several processes train the same model as one: real torchrun, gloo on the CPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from semconv.errors import SettingsError
from semconv.runs.files import BEST_WEIGHTS, TRAINING_CHART, TUNING_STATE
from semconv.settings.tuning import TuningSettings
from semconv.stages.tune.group import Leader, TuningTask
from semconv.tuning.processes import Processes
from semconv.tuning.step_log import read_steps
from semconv_warehouse.project import Project
from tests.worlds import projects
from tests.worlds.launch import LAUNCH, finetune, launched, losses
from tests.worlds.tuning import Case
from tests.worlds.tuning_group import KINDS, PLAIN, RESUMED, STOPPED, WEIGHTS, stopping

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
QUICK = ("ddp-full", "fsdp-resumed")  # part of every test run


def trained(root: Path, *names: str) -> Path:
    """Run these trainings in two processes; first begin those to be resumed in one."""
    for name in set(names) & set(RESUMED):
        (root / name).mkdir()
        begun = Case(root / name, RESUMED[name][0])
        begun.rows = stopping(begun)
        with pytest.raises(KeyboardInterrupt):
            begun.run()
        assert (root / name / TUNING_STATE).exists()
    launched("--module", "tests.worlds.tuning_group", str(root), *names)
    return root


def alone(folder: Path, settings: TuningSettings = PLAIN, tied: bool = False) -> Case:
    folder.mkdir()
    made = Case(folder, settings, tied=tied)
    made.run()
    return made


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [*KINDS, *RESUMED, *STOPPED, "half", "wild"]
    return trained(tmp_path_factory.mktemp("together"), *[name for name in names if name not in QUICK])


def require_same(folder: Path, other: Case) -> None:
    ours, theirs = losses(folder), losses(other.folder)
    assert ours[0] == pytest.approx(theirs[0], abs=1e-5)
    assert ours == pytest.approx(theirs, abs=2e-4)  # rounding errors grow with the steps
    ours_first, theirs_first = (read_steps(path)[0] for path in (folder, other.folder))
    assert ours_first["gradient_norm"] == pytest.approx(theirs_first["gradient_norm"], rel=1e-3)
    assert ours_first["losses"] == pytest.approx(theirs_first["losses"], abs=1e-4)
    assert ours_first["samples"] == theirs_first["samples"]


def require_same_weights(folder: Path, other: Case) -> None:
    expected, weights = other.weights(), load_file(folder / WEIGHTS)
    assert set(weights) == set(expected)
    for key, weight in weights.items():
        assert weight.shape == expected[key].shape
        assert float((weight - expected[key]).abs().mean()) < 1e-4  # each update is about 1e-3
    assert (folder / TRAINING_CHART).exists()
    assert (folder / BEST_WEIGHTS).exists()


def test_copies_and_shards_have_the_loss_of_one_process(tmp_path: Path) -> None:
    root = trained(tmp_path, *QUICK)
    settings, tied = KINDS["ddp-full"]
    whole = alone(tmp_path / "alone", settings, tied)
    require_same(root / "ddp-full", whole)
    require_same_weights(root / "ddp-full", whole)
    plain = alone(tmp_path / "plain")
    require_same(root / "fsdp-resumed", plain)  # one process began it
    require_same_weights(root / "fsdp-resumed", plain)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KINDS if name not in QUICK])
def test_two_processes_have_the_loss_of_one(together: Path, tmp_path: Path, name: str) -> None:
    other = alone(tmp_path / "alone", *KINDS[name])
    require_same(together / name, other)
    require_same_weights(together / name, other)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RESUMED if name not in QUICK])
def test_two_processes_continue_a_training_of_one(together: Path, tmp_path: Path, name: str) -> None:
    require_same(together / name, alone(tmp_path / "alone"))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(STOPPED))
def test_one_process_continues_a_training_of_two(together: Path, tmp_path: Path, name: str) -> None:
    plain = alone(tmp_path / "alone")
    shutil.copytree(together / name, tmp_path / name)
    half_way = len(losses(tmp_path / name))
    assert 0 < half_way < len(losses(plain.folder))
    Case(tmp_path / name, PLAIN).run()
    require_same(tmp_path / name, plain)


@pytest.mark.slow
def test_shards_in_half_precision_learn_with_master_weights_in_full(together: Path) -> None:
    weights = load_file(together / "fsdp-half" / WEIGHTS)
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in weights.values())
    found = losses(together / "fsdp-half")
    assert sum(found[-3:]) < sum(found[:3])


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "torchrun with several processes is for `semconv finetune`" in refused.stderr
    Project.open(project).recommend(split="test")  # the saved model is complete


@pytest.mark.slow
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


def test_without_torchrun_there_is_one_process() -> None:
    from semconv.tuning.launch import is_follower, process_count
    from semconv.tuning.processes import connect

    assert "WORLD_SIZE" not in os.environ
    assert (process_count(), is_follower(), connect().count) == (1, False, 1)
    assert connect().broadcast(replace(PLAIN)) == PLAIN


@pytest.mark.parametrize("start", ["mlp2", "mlp3"])
def test_several_processes_refuse_rows_that_a_network_computes(start: Any) -> None:
    nothing: dict[str, Any] = dict.fromkeys(field.name for field in fields(TuningTask))
    task = TuningTask(**{**nothing, "tuning": TuningSettings(code_start=start)})
    with pytest.raises(SettingsError, match=f"{start} can only be trained in one process"):
        Leader(Processes(rank=0, count=2)).start(task)
