"""Tuning a project by its command: figures that break, budgets by the clock, what a run shows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import project_case
import pytest
from click.testing import CliRunner, Result

from semconv_cli.main import cli
from semconv_warehouse.project import Project


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with codes and nothing tuned."""
    project = project_case.make_project(tmp_path_factory.mktemp("tuning") / "project")
    for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.codebook_fit):
        command()
    return project.layout.root


@pytest.fixture
def root(coded: Path, tmp_path: Path) -> Path:
    shutil.copytree(coded, tmp_path / "project")
    return tmp_path / "project"


def finetune(root: Path, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--project", str(root), "finetune", *args])
    assert result.exit_code == code, result.stderr
    return result


def run_folder(root: Path) -> Path:
    (folder,) = (root / "data" / "runs").glob("finetune-*")
    return folder


def test_a_loss_that_breaks_ends_in_one_line_and_exit_code_1(root: Path) -> None:
    wild = ("--learning-rate", "1e30", "--set", "tuning.clip=0")
    result = finetune(root, *wild, "--batch-tokens", "256", code=1)
    lines = [line for line in result.stderr.splitlines() if "error" in line]
    assert len(lines) == 1
    assert "is nan at step" in lines[0]
    assert "lower tuning.learning_rate" in lines[0]
    record = Project.open(root).store.runs(stage="finetune")[0]
    assert (record.status, "is nan" in (record.error or "")) == ("failed", True)
    finetune(root)  # sane settings are another run
    assert {run.status for run in Project.open(root).store.runs(stage="finetune")} == {"failed", "finished"}


def test_a_budget_by_the_clock_is_said_and_recorded(root: Path) -> None:
    result = finetune(root, "--max-minutes", "0.000001", "--set", "tuning.batch_tokens=256")
    assert "tuning.max_minutes ends this run by the clock: it is not reproducible" in result.stderr
    figures = json.loads((run_folder(root) / "figures.json").read_text())
    assert figures["is_reproducible"] is False
    assert figures["steps"] == 1
    assert Project.open(root).store.runs(stage="finetune")[0].settings["tuning"]["max_minutes"] == 0.000001


def test_the_command_names_the_picture_and_the_log(root: Path) -> None:
    fields = dict(line.split(maxsplit=1) for line in finetune(root).stdout.splitlines())
    assert (root / fields["picture"]).read_text().startswith("<svg")
    assert len((root / fields["steps"]).read_text().splitlines()) > 1
    record = json.loads(finetune(root, "--json").stdout)
    assert record["run_id"] == fields["run"]
    settings = record["settings"]["tuning"]
    assert not {"max_minutes", "accumulate", "gradient_checkpointing"} & set(settings)  # runs of before stay the same


def test_a_run_may_go_on_with_checkpointed_layers(root: Path) -> None:
    first = json.loads(finetune(root, "--json").stdout)
    again = json.loads(finetune(root, "--json", "--gradient-checkpointing").stdout)
    assert again["run_id"] == first["run_id"]  # it changes how a run runs, not what comes out
    other = json.loads(finetune(root, "--json", "--accumulate", "2").stdout)
    assert other["run_id"] != first["run_id"]


def test_a_training_without_a_sample_is_refused(root: Path) -> None:
    off = [f"tasks.{task}=false" for task in ("sequential", "text", "query")]
    bare = [part for change in off for part in ("--set", change)]
    rare = finetune(root, *bare, "--set", "tasks.negative_share=1e-12", code=4)
    assert "no epoch drew a sample: raise tasks.negative_share" in rare.stderr
    never = finetune(root, *bare, "--set", "tasks.negatives=0", code=4)
    assert "no task has a sample: the sequential and the negative task are off" in never.stderr
    long = finetune(
        root, "--set", "tasks.max_prompt_tokens=16", "--set", "tasks.text=false", "--set", "tasks.query=false"
    )
    assert "prompts an epoch are left out: longer than tasks.max_prompt_tokens" in long.stderr
