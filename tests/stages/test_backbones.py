"""A project on a pretrained backbone: named by a command or by the settings, tuned whole or by adapters."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from semconv.errors import InputError
from semconv.stages.embed.backbone import backbone_run
from tests.worlds import gguf_files, prompts
from tests.worlds.faults.damage import flip_a_bit
from tests.worlds.stages.pretrained import make_ingested, night, opened

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
KINDS = ("backbone", "embed_behavior", "embed_text", "codebook", "finetune", "recommend", "evaluate")
LORA = {"tuning__mode": "lora", "tuning__learning_rate": 1e-3}


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ingested(tmp_path_factory.mktemp("pretrained") / "project")


@pytest.fixture
def root(ingested: Path, tmp_path: Path) -> Path:
    return shutil.copytree(ingested, tmp_path / "project")


@pytest.mark.slow
def test_adapters_on_a_backbone_that_a_command_chose(root: Path, tmp_path: Path) -> None:
    opened(root).backbone_use(str(root / "models" / "tiny"))
    project = opened(root, **LORA)
    assert night(project) == {**dict.fromkeys(KINDS, "done"), "backbone": "reused"}
    assert night(opened(root, **LORA)) == {
        **dict.fromkeys(KINDS[:5], "kept"),
        **dict.fromkeys(KINDS[5:], "reused"),
    }
    run = project.workspace.need("finetune")
    tuned = run.settings["tuning"]
    assert (tuned["loss_over"], tuned["code_start"], tuned["history_loss"]) == ("vocabulary", "random", 0.0)
    assert (project.book.folder(run) / "model" / "adapter_config.json").exists()
    answers = project.recommend_query("a red lamp")
    assert len(answers) == 10
    flip_a_bit(project.book.folder(run) / "model" / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"adapter_model.safetensors: damaged or missing.*`semconv finetune`"):
        project.recommend_query("a red lamp")
    flip_a_bit(project.book.folder(run) / "model" / "adapter_model.safetensors")
    weights = root / "models" / "tiny" / "model.safetensors"
    flip_a_bit(weights)
    with pytest.raises(
        InputError, match=r"tiny: the files changed since backbone-.* recorded them; restore the old files"
    ):
        project.recommend_query("a red lamp")
    flip_a_bit(weights)
    night(opened(root, **LORA), refit=True)
    assert opened(root, **LORA).recommend_query("a red lamp") == answers  # the choice holds for a refit too


def test_codes_that_are_aligned_to_another_backbone_are_said(root: Path) -> None:
    project = opened(root)
    project.backbone_create()
    for command in (project.embed_behavior, project.embed_text, project.codebook_fit):
        command()
    other = opened(root, tuning__max_samples=1)
    other.backbone_use(str(root / "models" / "tiny"))
    other.finetune()
    assert any("fitted to text vectors of another backbone" in line for line in other.progress.said)


def test_a_history_that_the_backbone_cannot_hold_is_refused(root: Path) -> None:
    project = opened(root, split__history_length=300)
    project.backbone_use(str(root / "models" / "tiny"))
    for command in (project.embed_behavior, project.embed_text, project.codebook_fit):
        command()
    with pytest.raises(InputError, match=r"history of 300 items .* context is 512; lower split.history_length to \d+"):
        project.finetune()


def test_prompts_that_are_left_out_are_said_and_counted(root: Path) -> None:
    project = opened(root, tasks__max_prompt_tokens=70)
    project.backbone_use(str(root / "models" / "tiny"))
    for command in (project.embed_behavior, project.embed_text, project.codebook_fit, project.finetune):
        command()
    assert any("prompts of each epoch are left out" in line for line in project.progress.said)
    figures = (project.book.folder(project.workspace.need("finetune")) / "figures.json").read_text()
    assert '"prompts_too_long"' in figures
    counts = project.export_prompts(root / "prompts.jsonl")
    more = opened(root).export_prompts(root / "all.jsonl")
    assert sum(counts.values()) < sum(more.values())
    assert any("longer than tasks.max_prompt_tokens" in line for line in project.progress.said)


@pytest.mark.parametrize("path", ["", "model.gguf"], ids=["command", "settings"])
def test_a_gguf_file_that_cannot_be_used_leaves_no_backbone(root: Path, path: str) -> None:
    file = gguf_files.write(root / "model.gguf", values={"general.architecture": "gpt2"})
    project = opened(root, backbone__path=path)
    with pytest.raises(InputError, match=r"model.gguf: architecture gpt2 is not supported"):
        backbone_run(project.workspace) if path else project.backbone_use(str(file))
    assert project.workspace.latest("backbone") is None


@pytest.mark.pretrained
def test_a_gguf_file_is_a_pretrained_backbone_that_the_project_keeps(root: Path) -> None:
    tokenizer = prompts.tokenizer("embedded")
    model = prompts.model(len(tokenizer), tied=True, width=32)
    file = gguf_files.write_model(root / "tiny.gguf", model, tokenizer, "Q8_0")
    chosen = opened(root).backbone_use(str(file))
    assert opened(root).backbone_use(str(file)).run_id == chosen.run_id
    project = opened(root, **LORA)
    assert night(project)["backbone"] == "reused"
    tuned = project.workspace.need("finetune").settings["tuning"]
    assert (tuned["loss_over"], tuned["code_start"], tuned["history"]) == ("vocabulary", "random", "tokens")
    answers = [answer["item_id"] for answer in project.recommend_query("a red lamp")]
    file.unlink()
    moved = root.rename(root.parent / "moved")
    assert [answer["item_id"] for answer in opened(moved, **LORA).recommend_query("a red lamp")] == answers
    weights = opened(moved).book.folder(chosen) / "model" / "model.safetensors"
    flip_a_bit(weights)
    with pytest.raises(InputError, match=r"model.safetensors: damaged or missing.*`semconv backbone use .*tiny.gguf`"):
        opened(moved, **LORA).recommend_query("a red lamp")
