"""Several processes continue from an earlier tuning as one does: real torchrun, gloo on the CPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from semconv.tuning.step_log import read_steps
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.tuning.from_run import grow, start_of
from tests.worlds.tuning.launch import finetune, launched, losses

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
TUNING = "[tuning]\nmode = '{}'\nlora_rank = 4\nlora_dropout = 0.0\ndropout = 0.0\nreplay = 0.5\nepochs = 2\n"
FILES = {"full": "model.safetensors", "lora": "adapter_model.safetensors"}


@pytest.fixture(scope="module", params=list(FILES))
def tuned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project with a tuning of one mode and newer data, and the mode."""
    mode = str(request.param)
    root = case.make_coded_project(tmp_path_factory.mktemp(mode) / "project").layout.root
    settings = case.SETTINGS.replace(
        "[tuning]\nepochs = 1\nbatch_tokens = 2048", TUNING.format(mode) + "batch_tokens = 256"
    )
    assert mode in settings
    (root / "semconv.toml").write_text(settings)
    case.finetune(root)
    grow(root)
    return root, mode


@pytest.fixture(scope="module")
def alone(tuned: tuple[Path, str]) -> tuple[Path, dict[str, Any]]:
    """The same project in which one process continued, and its run."""
    root = shutil.copytree(tuned[0], tuned[0].parent / "alone")
    return root, went_on((sys.executable,), root)


def went_on(python: tuple[str, ...], root: Path, *args: str) -> dict[str, Any]:
    """Continue from the current run in one process, and return the new run."""
    program = [*python, *finetune(root, "--from", "current", "--json", *args)]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    run: dict[str, Any] = json.loads(done.stdout)
    return run


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_go_on_from_a_run_as_one_does(
    tuned: tuple[Path, str], alone: tuple[Path, dict[str, Any]], tmp_path: Path, parallel: str
) -> None:
    root, (other, expected) = shutil.copytree(tuned[0], tmp_path / "project"), alone
    start, options = start_of(root), ("--from", "current", "--parallel", parallel)
    done = launched(*finetune(root, "--json", *options))
    run = json.loads(done.stdout)  # only the first process prints
    assert (run["inputs"][-1], expected["inputs"][-1]) == (start, start)
    folder, whole = root / run["artifact_path"], other / expected["artifact_path"]
    ours, theirs = losses(folder), losses(whole)
    assert len(ours) > 4
    assert ours[0] == pytest.approx(theirs[0], abs=1e-5)
    assert ours == pytest.approx(theirs, abs=2e-4)  # rounding errors grow with the steps
    assert [line["samples"] for line in read_steps(folder)] == [line["samples"] for line in read_steps(whole)]
    require_same_weights(folder / "model" / FILES[tuned[1]], whole / "model" / FILES[tuned[1]])
    again = launched(*finetune(root, "--json", *options))  # nothing is new: no process waits forever
    assert json.loads(again.stdout)["run_id"] == run["run_id"]
    assert "nothing is new since" in again.stderr
    Project.open(root).recommend(split="test")  # the saved model is complete


def require_same_weights(ours: Path, theirs: Path) -> None:
    found, expected = load_file(ours), load_file(theirs)
    assert found.keys() == expected.keys()
    for name, weight in found.items():
        assert weight.shape == expected[name].shape
        assert float((weight - expected[name]).abs().mean()) < 1e-4  # each update is about 1e-3


def test_two_processes_say_once_that_another_mode_is_refused(tuned: tuple[Path, str]) -> None:
    root, mode = tuned
    (other,) = set(FILES) - {mode}
    refused = launched(*finetune(root, "--from", "current", "--mode", other), code=1)  # torchrun's own code
    said = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    # The other process prints that the first one ended.
    (line,) = [line for line in said if "another process of this training ended" not in line]
    assert f"was tuned with {mode}, and a tuning that continues from it must keep this value" in line
    assert len(Project.open(root).store.runs(stage="finetune")) == 1
