"""Tuning a project by its command: figures that break, budgets by the clock, what a run shows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from semconv.artifacts import read_arrays, write_arrays
from semconv.runs.digests import replacing_file
from semconv.stages.tune.inputs import tuning_inputs
from semconv.stages.tune.prompts import prepared_backbone
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import projects, prompts
from tests.worlds.faults.damage import flip_a_bit

BRIEF = ("--max-samples", "1", "--validation-users", "0")


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with codes and nothing tuned."""
    project = projects.make_coded_project(tmp_path_factory.mktemp("tuning") / "project")
    return project.layout.root


@pytest.fixture
def root(coded: Path, tmp_path: Path) -> Path:
    shutil.copytree(coded, tmp_path / "project")
    return tmp_path / "project"


def run_folder(root: Path) -> Path:
    (folder,) = (root / "data" / "runs").glob("finetune-*")
    return folder


def test_a_loss_that_breaks_ends_in_one_line_and_exit_code_1(root: Path) -> None:
    wild = ("--learning-rate", "1e30", "--set", "tuning.max_gradient_norm=0")
    result = projects.finetune(root, *wild, "--batch-tokens", "256", code=1)
    lines = [line for line in result.stderr.splitlines() if "error" in line]
    assert len(lines) == 1
    assert "is nan at step" in lines[0]
    assert "lower tuning.learning_rate" in lines[0]
    record = Project.open(root).store.runs(stage="finetune")[0]
    assert (record.status, record.error) == ("failed", "a check failed; the command that failed printed the details")
    projects.finetune(root)  # sane settings are another run
    assert {run.status for run in Project.open(root).store.runs(stage="finetune")} == {"failed", "finished"}


def test_a_budget_by_the_clock_is_said_and_recorded(root: Path) -> None:
    result = projects.finetune(root, "--max-minutes", "0.000001", "--set", "tuning.batch_tokens=256")
    assert "tuning.max_minutes limits this run by the clock, so its weights are not reproducible" in result.stderr
    figures = json.loads((run_folder(root) / "figures.json").read_text())
    assert figures["is_reproducible"] is False
    assert figures["steps"] == 1
    assert Project.open(root).store.runs(stage="finetune")[0].settings["tuning"]["max_minutes"] == 0.000001


def test_the_command_names_the_picture_and_the_log(root: Path) -> None:
    fields = dict(line.split(maxsplit=1) for line in projects.finetune(root).stdout.splitlines())
    assert (root / fields["picture"]).read_text().startswith("<svg")
    assert len((root / fields["steps"]).read_text().splitlines()) > 1
    record = json.loads(projects.finetune(root, "--json").stdout)
    assert record["run_id"] == fields["run"]
    settings = record["settings"]["tuning"]
    assert (settings["max_minutes"], settings["accumulate"]) == (0.0, 1)  # defaults are recorded too
    assert "gradient_checkpointing" not in settings  # it changes how a run runs, not its result


def test_a_run_may_go_on_with_checkpointed_layers(root: Path) -> None:
    first = json.loads(projects.finetune(root, *BRIEF, "--json").stdout)
    again = json.loads(projects.finetune(root, *BRIEF, "--json", "--gradient-checkpointing").stdout)
    assert again["run_id"] == first["run_id"]  # it changes how a run runs, not what comes out
    other = json.loads(projects.finetune(root, *BRIEF, "--json", "--accumulate", "2").stdout)
    assert other["run_id"] != first["run_id"]


def test_a_training_without_a_sample_is_refused(root: Path) -> None:
    off = [f"tasks.{task}=false" for task in ("sequential", "text", "query")]
    bare = [part for change in off for part in ("--set", change)]
    rare = projects.finetune(root, *bare, "--set", "tasks.negative_share=1e-12", code=4)
    assert "the tasks gave no training sample in any epoch; raise tasks.negative_share" in rare.stderr
    never = projects.finetune(root, *bare, "--set", "tasks.negatives=0", code=4)
    assert "no task has a training sample: the sequential and the negative task are off" in never.stderr
    long = projects.finetune(
        root, "--set", "tasks.max_prompt_tokens=16", "--set", "tasks.text=false", "--set", "tasks.query=false"
    )
    assert "prompts of each epoch are left out, because they are longer than tasks.max_prompt_tokens" in long.stderr


def test_a_task_that_is_on_and_has_no_samples_is_said(tmp_path: Path) -> None:
    project = projects.make_project(tmp_path / "project")
    with project.store.write() as connection:
        connection.exec_driver_sql("UPDATE interaction SET query = NULL")
        connection.exec_driver_sql("UPDATE item SET title = NULL, description = NULL WHERE item_id > 'i000'")
    for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.codebook_fit):
        command()
    result = projects.finetune(project.layout.root, *BRIEF)
    assert "the query task has no samples: no training interaction has a query" in result.stderr
    assert "the text task has no samples" not in result.stderr  # one item has text
    off = projects.finetune(project.layout.root, *BRIEF, "--set", "tasks.query=false")
    assert "query task" not in off.stderr


@pytest.fixture(scope="module")
def tuned(coded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shutil.copytree(coded, tmp_path_factory.mktemp("tuned") / "project")
    projects.finetune(root)
    return root


def recommend(root: Path, *, code: int) -> str:
    result = CliRunner().invoke(cli, ["--project", str(root), "recommend", "--split", "test"])
    assert result.exit_code == code, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == (code != 0)
    return errors[0] if errors else ""


def test_a_saved_model_is_complete(tuned: Path) -> None:
    folder = run_folder(tuned) / "model"
    manifest = json.loads((folder / "semconv.json").read_text())
    project = Project.open(tuned)
    run = project.workspace.need("finetune")
    assert manifest["settings"] == run.settings
    assert manifest["code_set_run_id"] == project.workspace.need("codebook").run_id
    assert (folder / "tokenizer.json").exists()
    assert "<b_15>" in (folder / "tokenizer.json").read_text()
    recommend(shutil.copytree(tuned, tuned.parent / "whole"), code=0)


def change_codes(root: Path, *, drop: bool) -> None:
    (file,) = (root / "data" / "runs").glob("codebook-*/codes.safetensors")
    arrays = read_arrays(file)
    if drop:
        arrays = {
            name: array[1:] if len(array) == len(arrays["item_index"]) else array for name, array in arrays.items()
        }
    else:
        arrays["codes"] = arrays["codes"][::-1].copy()
    with replacing_file(file) as new:
        write_arrays(new, arrays)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: change_codes(root, drop=False), "this model was tuned on other codes"),
        (lambda root: change_codes(root, drop=True), "1 items that the model was tuned on have lost their codes"),
        (lambda root: (run_folder(root) / "model" / "semconv.json").unlink(), "semconv.json: missing"),
        (lambda root: (run_folder(root) / "model" / "model.safetensors").unlink(), "weights cannot be loaded"),
        (
            lambda root: [path.unlink() for path in (run_folder(root) / "model").glob("tokenizer*")],
            "no tokenizer beside the model",
        ),
    ],
)
def test_a_model_that_cannot_answer_for_these_codes_is_refused(
    tuned: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    root = shutil.copytree(tuned, tmp_path / "project")
    projects.without_digests(root)  # with them, what is gone is said before it is looked for
    damage(root)
    assert message in recommend(root, code=4)


def backbone_of(folder: Path, **config: object) -> Path:
    tokenizer = prompts.tokenizer("metaspace-first")
    prompts.model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"max_position_embeddings": 32}, "a context of 32 tokens is too short"),
        ({"model_type": "unheard-of"}, "no model configuration that transformers knows"),
        ({"model_type": "gpt2"}, "architecture gpt2 is not supported"),
        (None, "no tokenizer beside the model"),
    ],
)
def test_a_backbone_that_cannot_be_tuned_ends_the_command(
    root: Path, tmp_path: Path, config: dict[str, object] | None, message: str
) -> None:
    folder = backbone_of(tmp_path / "backbone", **(config or {}))
    for file in folder.glob("tokenizer*") if config is None else ():
        file.unlink()
    result = CliRunner().invoke(cli, ["--project", str(root), "backbone", "use", str(folder)])
    assert result.exit_code == 4, result.stderr
    assert message in result.stderr.splitlines()[-1]


def edited(folder: Path, **config: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: [file.unlink() for file in folder.glob("tokenizer*")], "the files changed since backbone-"),
        (lambda folder: edited(folder, max_position_embeddings=32), "the files changed since backbone-"),
        (lambda folder: flip_a_bit(folder / "model.safetensors"), "the files changed since backbone-"),
        (lambda folder: folder.rename(folder.with_name("gone")), "no such folder"),
    ],
)
def test_a_backbone_that_broke_since_it_was_named_ends_the_tuning(
    root: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = backbone_of(tmp_path / "backbone")
    assert CliRunner().invoke(cli, ["--project", str(root), "backbone", "use", str(folder)]).exit_code == 0
    damage(folder)
    result = projects.finetune(root, *BRIEF, code=4)
    (line,) = [line for line in result.stderr.splitlines() if "error: " in line]
    assert str(folder) in line
    assert message in line


@pytest.mark.parametrize("name", ["codes.safetensors", "books.safetensors"])
def test_codes_that_are_gone_end_the_tuning(root: Path, name: str) -> None:
    (file,) = root.glob(f"data/runs/codebook-*/{name}")
    file.unlink()
    result = projects.finetune(root, *BRIEF, code=4)
    (line,) = [line for line in result.stderr.splitlines() if "error: " in line]
    assert name in line


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (False, "this model was tuned on other codes"),
        (True, "1 items that the model was tuned on have lost their codes"),
    ],
)
def test_a_tuning_does_not_go_on_from_a_model_of_other_codes(
    tuned: Path, tmp_path: Path, drop: bool, message: str
) -> None:
    root = shutil.copytree(tuned, tmp_path / "project")
    change_codes(root, drop=drop)
    result = projects.finetune(root, "--from", "current", "--replay", "1", code=4)
    (line,) = [line for line in result.stderr.splitlines() if "error: " in line]
    assert message in line


def test_a_context_too_short_for_one_history_ends_the_command(root: Path, tmp_path: Path) -> None:
    folder = backbone_of(tmp_path / "backbone", max_position_embeddings=80)
    assert CliRunner().invoke(cli, ["--project", str(root), "backbone", "use", str(folder)]).exit_code == 0
    result = projects.finetune(root, code=4)
    assert "a history of 20 items makes prompts of" in result.stderr
    assert "the backbone's context is 80; lower split.history_length to 3" in result.stderr
    result = projects.finetune(root, "--set", "split.history_length=4", code=4)
    assert "a history of 4 items makes prompts of" in result.stderr


def test_a_text_that_the_context_cannot_hold_is_left_out(root: Path, tmp_path: Path) -> None:
    project = Project.open(root)
    with project.store.write() as connection:
        connection.exec_driver_sql("UPDATE item SET description = repeat('a lamp ', 200) WHERE item_id < 'i003'")
    folder = backbone_of(tmp_path / "backbone", max_position_embeddings=300)
    assert CliRunner().invoke(cli, ["--project", str(root), "backbone", "use", str(folder)]).exit_code == 0
    result = projects.finetune(root)
    assert (
        "3 prompts of each epoch are left out, because they are longer than tasks.max_prompt_tokens or the backbone's context"
        in result.stderr
    )
    assert json.loads((run_folder(root) / "figures.json").read_text())["prompts_too_long"] == {"0": 3}


def test_the_seed_of_a_tuning_draws_the_rows_of_its_codes(root: Path) -> None:
    drawn = []
    for seed in (0, 1):
        project = Project.open(root, overrides={"tuning.seed": seed})
        model, _, tokens = prepared_backbone(project.workspace, tuning_inputs(project.workspace, None))
        drawn.append(model.get_input_embeddings().weight[tokens.ravel()].detach().numpy())
    assert drawn[0].shape == drawn[1].shape
    assert np.abs(drawn[0] - drawn[1]).max() > 0.01
