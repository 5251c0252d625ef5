"""Histories as items, trained by torchrun in two processes: copies of the model, and shards of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv.stages.tune.figures import tuning_figures
from semconv_warehouse.project import Project
from tests.worlds import dated
from tests.worlds.tuning.launch import finetune, launched

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_learn_as_one_does(tmp_path: Path, parallel: str) -> None:
    alone = Project.open(dated.tuned_template()).workspace
    project = dated.make_project(tmp_path / "project")
    for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.codebook_fit):
        command()
    launched(*finetune(project.layout.root, "--set", f"tuning.parallel={parallel}"))
    found = tuning_figures(project.workspace, project.workspace.need("finetune"))
    expected = tuning_figures(alone, alone.need("finetune"))
    assert (found["steps"], found["samples"]) == (expected["steps"], expected["samples"])
    # Each process draws its own dropout, so the weights differ a little.
    assert found["best_ndcg"] == pytest.approx(expected["best_ndcg"], abs=0.1)
