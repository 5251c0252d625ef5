"""The presets of the paper on a small shop: every stage up to the evaluation, with settings of the preset."""

from pathlib import Path

import pytest

from semconv.settings.presets import read_preset
from semconv.settings.text import settings_template
from semconv_warehouse.project import Project
from tests.worlds import projects
from tests.worlds.stages.pretrained import make_ingested

pytestmark = pytest.mark.slow

SMALL = {
    "dccf.epochs": 2,
    "dccf.batches_per_epoch": 2,
    "dccf.batch_size": 64,
    "behavior.dimensions": 8,
    "backbone.width": 16,
    "backbone.layers": 1,
    "backbone.heads": 2,
    "backbone.mlp_width": 32,
    "backbone.vocabulary": 320,
    "codebook.levels": 2,
    "codebook.codes": 16,
    "tuning.epochs": 1,
    "evaluate.bootstrap_samples": 50,
}


def run(root: Path, name: str, model: str = "") -> Project:
    """Run every stage of the shop in this folder with the settings of a preset; ``model`` is a pretrained backbone."""
    (root / "semconv.toml").write_text(settings_template(read_preset(name)))
    project = Project.open(root, overrides=SMALL, progress=projects.Remarks())
    if model:
        project.backbone_use(model)
    else:
        project.backbone_create()
    for stage in (project.embed_behavior, project.embed_text, project.codebook_fit, project.finetune):
        stage()
    return project


def check(project: Project, name: str) -> None:
    """Check the settings that the tuning recorded, and the figures of the model."""
    (tuned,) = (run["settings"] for run in project.runs() if run["stage"] == "finetune")
    wanted = {**read_preset(name).values, **SMALL}
    for section in ("tasks", "tuning"):
        for key, value in tuned[section].items():
            expected = wanted.get(f"{section}.{key}", value)
            assert value == (None if expected == "" else expected), key
    rows = [row for row in project.evaluate() if row["method"] == "model" and row["segment"] == "all"]
    assert {row["name"] for row in rows} >= {"ndcg", "hit_ratio"}
    assert all(0 <= row["value"] <= 1 for row in rows if row["name"] in ("ndcg", "hit_ratio", "mrr"))


def test_paper_runs_from_the_vectors_to_the_figures(tmp_path: Path) -> None:
    root = projects.make_project(tmp_path).layout.root
    check(run(root, "paper"), "paper")


def test_paper_llm_tunes_a_pretrained_backbone_with_lora(tmp_path: Path) -> None:
    root = make_ingested(tmp_path)
    check(run(root, "paper-llm", str(root / "models" / "tiny")), "paper-llm")
