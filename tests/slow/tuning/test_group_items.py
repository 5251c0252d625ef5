"""Histories as items, trained by torchrun in two processes: copies of the model, and shards of it, in both modes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from semconv.stages.tune.figures import tuning_figures
from semconv_warehouse.project import Project
from tests.worlds import dated
from tests.worlds.tuning.launch import finetune, launched

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_learn_as_one_does(tmp_path: Path, parallel: str, mode: str) -> None:
    if mode == "full":
        alone = Project.open(dated.tuned_template()).workspace
        project = dated.make_project(tmp_path / "project")
        for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.codebook_fit):
            command()
    else:  # a pretrained model whose matrices are not tied, so its output matrix is not used
        project = dated.make_pretrained(tmp_path / "project", tied=False)
        shutil.copytree(project.layout.root, tmp_path / "alone")
        alone = dated.tune(Project.open(tmp_path / "alone")).workspace
    launched(*finetune(project.layout.root, "--set", f"tuning.parallel={parallel}"))
    found = tuning_figures(project.workspace, project.workspace.need("finetune"))
    expected = tuning_figures(alone, alone.need("finetune"))
    assert (found["steps"], found["samples"]) == (expected["steps"], expected["samples"])
    # Each process draws its own dropout, so the weights differ a little.
    assert found["best_ndcg"] == pytest.approx(expected["best_ndcg"], abs=0.1)
