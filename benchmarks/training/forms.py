"""An epoch of tuning and the lists of all users: histories as items beside histories as code tokens.

Both forms have the defaults of the built-in backbone, the same data and the same codes. The size `full` takes Games if the
data is on this machine, otherwise a demo shop as for `small`. Each form runs in a process of its own. An epoch has no
validation. The lists are those of the model alone for all users.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import data_folder
from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.shop import SMALL_MODEL, demo_project
from benchmarks.timing import Seconds, in_own_process, peak_memory_bytes, timed
from semconv.progress import Silent
from semconv.stages.tune.figures import tuning_figures
from semconv_warehouse.demo.catalog import DemoShape
from semconv_warehouse.project import Project

FORMS = Comparison("forms", "histories as code tokens", ["torch", "transformers"])
ONE_EPOCH = {"tuning.epochs": 1, "tuning.validation_users": 0, "blend.use": "never"}


@dataclass(frozen=True)
class Taken:
    """What one form took."""

    epoch: float  # processor seconds
    lists: Seconds
    num_users: int
    peak: int  # bytes


def run(size: Size) -> list[Row]:
    """Measure both forms."""
    games = data_folder("games")
    is_real = size == "full" and games.is_dir()
    settings = ONE_EPOCH if is_real else {**SMALL_MODEL, **ONE_EPOCH}
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "template"
        if is_real:
            ingest_games(template, games)
        else:
            demo_project(template, DemoShape(), settings)
        fit_codes(template, settings)
        ours, peer = (
            in_own_process(measure, template, Path(folder) / form, {**settings, "tuning.history": form})
            for form in ("items", "tokens")
        )
    case = f"{'Games' if is_real else 'demo shop'}, {ours.num_users:,} users"
    return [
        FORMS.row(case, "epoch of tuning", "CPU s", ours=ours.epoch, peer=peer.epoch),
        *FORMS.seconds(case, "lists of all users", ours.lists, peer.lists),
        FORMS.row(case, "peak memory", "bytes", ours=ours.peak, peer=peer.peak),
    ]


def ingest_games(root: Path, data: Path) -> None:
    """Make a project with the Games data."""
    Project.init(root, "# Games\n")
    project = Project.open(root, progress=Silent())
    project.ingest_items([data / "items.parquet"], {})
    project.ingest_interactions([data / "interactions.parquet"], {"source_position": "position"})


def fit_codes(root: Path, settings: dict[str, Any]) -> None:
    """Fit the codes that both forms use."""
    project = Project.open(root, overrides=settings, progress=Silent())
    for stage in (project.backbone_create, project.embed_behavior, project.embed_text, project.codebook_fit):
        stage()


def measure(template: Path, root: Path, settings: dict[str, Any]) -> Taken:
    """Tune one form for an epoch in a copy of a project, and compute the lists of all users."""
    shutil.copytree(template, root)
    project = Project.open(root, overrides=settings, progress=Silent())
    tuned = project.finetune()
    lists, _ = timed(project.recommend, repeats=1)
    epoch = tuning_figures(project.workspace, tuned)["processor_seconds"]
    return Taken(epoch, lists, len(project.workspace.sequences()), peak_memory_bytes())


if __name__ == "__main__":
    command(run, __doc__)
