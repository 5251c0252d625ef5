"""Lists for serving that are made before there is a blend."""

from __future__ import annotations

from pathlib import Path

from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds import projects as case
from tests.worlds.listed import ALWAYS


def test_lists_for_serving_without_a_blend_say_what_is_missing(tmp_path: Path) -> None:
    root = listed.make_tuned(tmp_path / "tuned")
    said = case.Remarks()
    Project.open(root, progress=said).recommend()  # blend.use = never
    (root / "semconv.toml").write_text(ALWAYS)
    project = Project.open(root, progress=said)
    project.recommend(split="test")
    assert not any("has no blend yet" in line for line in said.said)
    project.recommend()
    expected = f"{project.workspace.need('finetune').run_id} has no blend yet, so these lists come from the model alone"
    assert sum(line.startswith(expected) for line in said.said) == 1
    project.blend()
    project.recommend()
    assert sum(line.startswith(expected) for line in said.said) == 1
