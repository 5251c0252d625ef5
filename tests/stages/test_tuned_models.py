"""Every way to use a tuned model loads it alike: trained whole or by an adapter, to read tokens or items, with own code or not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from semconv.backbone import load
from semconv.settings.tree import Settings
from semconv.stages.tune.tuned import Tuned, TunedFiles
from semconv_warehouse.project import Project
from tests.worlds import projects, prompts
from tests.worlds.once import made_once

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
PLAIN, OWN_CODE = False, True
# Each way of tuning on one kind of backbone, then the other pairs.
TUNED = [
    pytest.param(("full", "tokens", PLAIN), id="full-plain"),
    pytest.param(("lora", "tokens", OWN_CODE), id="lora-own-code"),
    pytest.param(("lora", "items", OWN_CODE), id="lora-items-own-code"),
    pytest.param(("full", "tokens", OWN_CODE), id="full-own-code", marks=pytest.mark.slow),
    pytest.param(("lora", "tokens", PLAIN), id="lora-plain", marks=pytest.mark.slow),
]
CODE = """
from transformers import LlamaConfig, LlamaForCausalLM


class OwnConfig(LlamaConfig):
    model_type = "llama"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""
NEXT_ITEM = {projects.user_id(3): [7]}


def backbone(folder: Path, *, own_code: bool) -> Path:
    prompts.saved_model(folder, tied=True)
    if own_code:
        (folder / "own_code.py").write_text(CODE)
        config = json.loads((folder / "config.json").read_text())
        names = {"AutoConfig": "own_code.OwnConfig", "AutoModelForCausalLM": "own_code.OwnModel"}
        (folder / "config.json").write_text(json.dumps({**config, "auto_map": names}))
    return folder


def opened(root: Path, mode: str, history: str, **overrides: object) -> Project:
    wanted = {"tuning.mode": mode, "tuning.history": history, "tuning.learning_rate": 1e-3, "blend.use": "auto"}
    return Project.open(root, overrides={**wanted, **overrides}, progress=projects.Remarks())


def coded(folder: Path, *, own_code: bool) -> None:
    """Make a project with codes on a backbone."""
    root = projects.make_project(folder).layout.root
    model = backbone(root / "models" / "tiny", own_code=own_code)
    project = opened(root, "full", "tokens", **{"backbone.trust_remote_code": own_code})
    project.backbone_use(str(model))
    for command in (project.embed_behavior, project.embed_text, project.codebook_fit):
        command()


@pytest.fixture(scope="module")
def tuned_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after a tuning in a mode, on a backbone with or without code of its own; tests work on copies."""
    mode, history, own_code = request.param
    root = made_once(f"coded-{own_code}", lambda folder: coded(folder, own_code=own_code))
    folder = shutil.copytree(root, tmp_path_factory.mktemp(mode) / "project")
    project = opened(folder, mode, history, **{"backbone.trust_remote_code": own_code})
    project.finetune()
    return project


@pytest.fixture
def tuned(tuned_once: Project, tmp_path: Path) -> Project:
    shutil.copytree(tuned_once.layout.root, tmp_path / "project")
    return opened_as(tuned_once, tmp_path / "project")


def opened_as(tuned: Project, root: Path, **overrides: object) -> Project:
    """Open a project with the settings by which another one was tuned, and some more."""
    tuning, trust = tuned.settings.tuning, tuned.settings.backbone.trust_remote_code
    return opened(root, tuning.mode, tuning.history, **{"backbone.trust_remote_code": trust, **overrides})


@pytest.mark.parametrize("tuned_once", TUNED, indirect=True)
def test_code_of_the_backbone_runs_where_the_settings_allow_it_now(
    tuned: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_the_same_model_in_every_use(tuned, monkeypatch, is_trusted=True)


@pytest.mark.parametrize("tuned_once", TUNED[1:4], indirect=True)
def test_code_of_the_backbone_does_not_run_once_the_settings_forbid_it(
    tuned: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_the_same_model_in_every_use(tuned, monkeypatch, is_trusted=False)


def require_the_same_model_in_every_use(tuned: Project, monkeypatch: pytest.MonkeyPatch, *, is_trusted: bool) -> None:
    """Every use has the same model. The saved one has no say, though its manifest records the setting of its tuning."""
    loaded: list[str] = []
    check = load.check_branches

    def recorded(model: Any, name: str) -> None:
        loaded.append(type(model).__name__)
        check(model, name)

    monkeypatch.setattr(load, "check_branches", recorded)
    project = opened_as(tuned, tuned.layout.root, **{"backbone.trust_remote_code": is_trusted})
    has_code = tuned.settings.backbone.trust_remote_code
    expected = "OwnModel" if has_code and is_trusted else "LlamaForCausalLM"
    start = project.workspace.need("finetune")
    more = projects.write_lines(tuned.layout.root / "more.jsonl", projects.events(NEXT_ITEM, start=99))
    project.ingest_interactions([more], {})
    uses: dict[str, Callable[[], Any]] = {
        "lists": lambda: project.recommend(split="test"),
        "blend": project.blend,
        "question": lambda: project.recommend_query("a red lamp"),
        "further tuning": lambda: project.finetune(from_run="current"),
    }
    found: dict[str, Any] = {}
    for name, use in uses.items():
        loaded.clear()
        found[name] = use()
        assert set(loaded) == {expected}, name
    assert sorted(project.book.folder(found["lists"]).glob("part-*.parquet"))
    assert {row["method"] for row in found["blend"]["figures"]} >= {"model", "blend"}
    assert [answer["rank"] for answer in found["question"]] == list(range(1, 11))
    assert start.run_id in found["further tuning"].inputs
    assert found["further tuning"].settings["from"]["learning_rate"] == pytest.approx(1e-3 / 3)


@pytest.mark.parametrize("tuned_once", TUNED, indirect=True)
def test_lists_blend_and_questions_load_through_one_function(tuned: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load_files = TunedFiles.load

    def recorded(files: TunedFiles, settings: Settings, *rest: Any) -> Tuned:
        loaded.append(settings.recommend.dtype)
        return load_files(files, settings, *rest)

    monkeypatch.setattr(TunedFiles, "load", recorded)
    narrow = opened_as(tuned, tuned.layout.root, **{"recommend.dtype": "bfloat16"})
    narrow.recommend(split="valid")
    narrow.blend()
    narrow.recommend_query("a red lamp")
    assert len(loaded) >= 3
    assert set(loaded) == {"bfloat16"}
