"""A pretrained backbone in a folder of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from semconv.errors import InputError
from semconv.stages.embed.backbone import backbone_run
from tests.worlds.stages.pretrained import make_ingested, night, opened

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_ingested(tmp_path / "project")


def test_a_backbone_of_the_project_is_named_relative_to_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = {"backbone__path": "models/tiny"}
    project = opened(root, **named)
    night(project)
    assert set(night(opened(root, **named)).values()) == {"kept", "reused"}
    assert project.workspace.need("backbone").settings["backbone"]["path"] == str(root / "models" / "tiny")
    states = night(opened(root))  # no backbone named any more: the one that is tuned stays chosen
    assert states["backbone"] == "kept"
    with pytest.raises(InputError, match="no such folder"):
        backbone_run(opened(root, backbone__path=str(root / "absent")).workspace)
