"""A training on another machine: packed, trained by ``python -m semconv.train``, and loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from semconv.artifacts import read_json
from semconv.data.store import RunRecord
from semconv.runs.files import COMPLETE, FIGURES, STEPS, Kind, kind_of, run_files
from semconv.train.__main__ import train_pack
from semconv.tuning.step_log import read_steps
from semconv_warehouse.project import Project
from tests.worlds import dated
from tests.worlds import projects as case
from tests.worlds.once import made_once

_TIMES = ("seconds", "processor_seconds")


def coded_with_dates(root: Path) -> Project:
    """A project with dates and codes, whose model will read items, and nothing tuned."""

    def make(folder: Path) -> None:
        project = dated.make_project(folder, settings=dated.SETTINGS.replace("epochs = 8", "epochs = 2"))
        for command in (project.backbone_create, project.embed_behavior, project.embed_text, project.codebook_fit):
            command()

    shutil.copytree(made_once("dated-coded", make), root)
    return case.reopened(Project.open(root))


def trained_pack(project: Project, folder: Path, from_run: str | None = None) -> dict[str, Any]:
    """Pack the tuning of a project and train it in this process; return the figures."""
    project.finetune_pack(folder, from_run=from_run)
    return train_pack(folder, case.Remarks())


def require_same_runs(project: Project, ours: RunRecord, other: Project, theirs: RunRecord) -> None:
    """Require that two runs of the stage finetune are equal byte for byte, apart from the times that they took."""
    assert ours.fingerprint == theirs.fingerprint  # of the inputs and the data too
    assert ours.settings == theirs.settings
    folders = project.book.folder(ours), other.book.folder(theirs)
    first, second = ({name: path for name, path in run_files(folder).items() if _is_kept(name)} for folder in folders)
    assert set(first) == set(second)
    for name, path in first.items():
        # An adapter names the folder of its backbone.
        content = path.read_bytes().replace(bytes(project.layout.root), bytes(other.layout.root))
        assert name == FIGURES or content == second[name].read_bytes(), name
    assert without_times(read_json(first[FIGURES])) == without_times(read_json(second[FIGURES]))
    steps = [[without_times(step) for step in read_steps(folder)] for folder in folders]
    assert steps[0] == steps[1]


def _is_kept(name: str) -> bool:
    return name not in (COMPLETE, STEPS) and kind_of(name) is Kind.RESULT


def without_times(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name not in _TIMES}


def changed_json(path: Path, **values: Any) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
