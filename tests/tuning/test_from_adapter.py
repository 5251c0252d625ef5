"""Tuning that continues from an adapter: the same adapter is trained further, exactly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv.artifacts import read_arrays
from semconv.progress import Silent
from semconv.runs.files import MODEL_FOLDER
from semconv.runs.lineage import Lineage
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.embed.backbone import load_run_backbone
from semconv.stages.stage_settings import resolved_tuning
from semconv.stages.tune.inputs import TuningInputs
from semconv.stages.tune.preparation import Preparation
from semconv.tasks.source import PromptSource
from semconv.train.scoring import ndcg_of
from semconv.tuning.choices import CodeChoices
from semconv.tuning.form import TokenForm
from semconv.tuning.model import load_tuned
from semconv.tuning.train import Training, tune
from semconv.tuning.validation_score import ValidationScore
from semconv_warehouse.project import Project
from tests.worlds import projects as case
from tests.worlds.tuning.from_run import (
    ADAPTER,
    Stopping,
    adapter,
    make_tuned_adapter,
    model_folder,
    same,
    start_of,
    tuned_by,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tuned_adapter(tmp_path_factory.mktemp("adapter") / "project")


@pytest.fixture(scope="module")
def gone_on(tuned: Path) -> tuple[Path, dict[str, Any]]:
    """A project in which the command went on, undisturbed, and its run."""
    root = shutil.copytree(tuned, tuned.parent / "gone-on")
    return root, tuned_by(root, "--from", "current")[0]


@pytest.fixture
def root(tuned: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tuned, tmp_path / "project")


def with_adapter(project: Project, folder: Path, *, is_trainable: bool) -> tuple[Any, Any, Any]:
    """Return the backbone with a saved adapter as PEFT loads it, its tokenizer and code tokens."""
    from peft import PeftModel

    from semconv.backbone.code_tokens import add_code_tokens

    model, tokenizer = load_run_backbone(project.workspace, project.workspace.need("backbone"))
    shape = project.settings.codebook
    ids = add_code_tokens(model, tokenizer, shape.levels, shape.codes)
    return PeftModel.from_pretrained(model, folder, is_trainable=is_trainable), tokenizer, ids


def test_the_result_is_what_training_the_adapter_further_gives(
    gone_on: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    root, run = gone_on
    project = Project.open(root)
    workspace = project.workspace
    start = workspace.run(run["inputs"][-1])
    codes_of = Lineage.current(workspace.store, workspace.need("codebook"))
    inputs = TuningInputs(workspace.need("backbone"), codes_of, Lineage.current(workspace.store, start))
    before = {
        name: array.copy() for name, array in read_arrays(workspace.book.folder(start) / "model" / ADAPTER).items()
    }

    loaded = with_adapter(project, workspace.book.folder(start) / MODEL_FOLDER, is_trainable=True)
    codes = ItemCodes.read(workspace, codes_of.code_runs)
    tuning = resolved_tuning(workspace, inputs.backbone, codes_of.codebook, goes_on=True)
    assert tuning.learning_rate == pytest.approx(5e-4)
    model, tokenizer, level_tokens = loaded
    task = Preparation(workspace, inputs, tuning, codes).task
    ndcg = ndcg_of(task)
    validate = None if ndcg is None else lambda model: ValidationScore(float(ndcg(model).mean()))
    source = PromptSource(task.encoder, task.data, task.tasks, task.history_length, Silent())
    choices = CodeChoices(level_tokens, codes.codes)
    tune(model, Training(TokenForm(source.rows, tokenizer.pad_token_id, choices), validate, tmp_path, Silent()), tuning)
    by_hand = tmp_path / "by-hand"
    model.save_pretrained(by_hand, save_embedding_layers=False)

    assert same(dict(read_arrays(by_hand / ADAPTER)), adapter(root, run))
    assert same(dict(read_arrays(workspace.book.folder(start) / "model" / ADAPTER)), before)  # untouched
    moved = [name for name, array in adapter(root, run).items() if not np.array_equal(array, before[name])]
    assert sorted(moved) == sorted(before)  # every matrix of the adapter, and the rows of the code tokens
    assert any("token_adapter" in name or "trainable_tokens" in name for name in moved)


def run_figures(root: Path, run: dict[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((root / run["artifact_path"] / "figures.json").read_text())
    return figures


def test_the_run_records_the_tuning_it_continues(gone_on: tuple[Path, dict[str, Any]]) -> None:
    root, run = gone_on
    figures = run_figures(root, run)
    assert figures["epochs_before"] == 2
    assert 0 < figures["samples"] < run_figures(root, {"artifact_path": f"data/runs/{run['inputs'][-1]}"})["samples"]
    assert run["settings"]["from"] == {"replay": 0.5, "learning_rate": pytest.approx(5e-4)}
    assert (run["settings"]["tuning"]["mode"], run["settings"]["tuning"]["lora_rank"]) == ("lora", 4)
    after, said = tuned_by(root, "--from", "current")
    assert after["run_id"] == run["run_id"]
    assert "nothing is new since" in said


def test_merged_and_unmerged_give_the_same_logits(gone_on: tuple[Path, dict[str, Any]]) -> None:
    root, run = gone_on
    merged = load_tuned(model_folder(root, run), trust_remote_code=False)
    unmerged, _, ids = with_adapter(Project.open(root), model_folder(root, run), is_trainable=False)
    assert np.array_equal(ids, merged.level_tokens)
    tokens = torch.from_numpy(np.concatenate([np.arange(10), ids.ravel()[:12]]))[None]
    with torch.no_grad():
        ours, theirs = (model.eval()(input_ids=tokens).logits for model in (merged.model, unmerged))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_an_interrupted_run_ends_with_the_same_adapter(root: Path, gone_on: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(KeyboardInterrupt):
        Project.open(root, progress=Stopping("epoch 2:")).finetune(from_run="current")
    resumed, _ = tuned_by(root, "--from", "current")
    assert len(Project.open(root).store.runs(stage="finetune")) == 2
    assert same(adapter(root, resumed), adapter(*gone_on))


@pytest.mark.parametrize(
    ("name", "value", "had"), [("mode", "full", "lora"), ("lora_rank", "8", "4"), ("lora_alpha", "16", "32")]
)
def test_another_mode_or_another_adapter_is_refused(root: Path, name: str, value: str, had: str) -> None:
    start = start_of(root)
    result = case.finetune(root, "--from", start, "--set", f"tuning.{name}={value}", code=2)
    (line,) = [line for line in result.stderr.splitlines() if "error: " in line]
    assert f"tuning.{name} = {value}: {start} was tuned with {had}" in line
    assert f"set tuning.{name} = {had}, or tune from the backbone without --from" in line
    assert [run.run_id for run in Project.open(root).store.runs(stage="finetune")] == [start]


def test_an_adapter_that_is_damaged_is_named(root: Path) -> None:
    (file,) = root.glob(f"data/runs/finetune-*/model/{ADAPTER}")
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    assert f"{ADAPTER}: damaged or missing" in case.finetune(root, "--from", "current", code=4).stderr.splitlines()[-1]
    case.without_digests(root)
    result = case.finetune(root, "--from", "current", code=4)
    assert f"{ADAPTER}: the adapter cannot be loaded" in result.stderr.splitlines()[-1]
    file.unlink()
    assert "tune from the backbone instead" in case.finetune(root, "--from", "current", code=4).stderr
