"""Write a trained model and its figures into the folder of its run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semconv.artifacts import write_arrays, write_json
from semconv.data.store import RunRecord
from semconv.runs.files import FIGURES, MODEL_FOLDER, TUNED_CODES, TUNED_ON
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.embed.backbone import backbone_path
from semconv.stages.tune.figures import CHOSEN_BY, EPOCHS_BEFORE, TRAIN_INTERACTIONS, epochs_trained
from semconv.stages.tune.tuned import PROMPT_DATES
from semconv.tasks.data import TaskData
from semconv.tasks.replay import TunedOn
from semconv.train.task import TuningTask
from semconv.train.training import Trained
from semconv.tuning.model import codes_digest, save_tuned


@dataclass(frozen=True)
class Origin:
    """The inputs of a tuning that its run records.

    Attributes:
        backbone: the run of the language model before tuning.
        codebook: the run of the code set.
        settings: the settings that the tuning read.
        train_interactions: number of interactions in the train cut, including those outside the k-core.
        epochs_before: number of epochs of the tunings that this one continues; None if it continues none.
        chosen_by: id of the tuning without validation items that chose the number of epochs; None if none did.
    """

    backbone: RunRecord
    codebook: RunRecord
    settings: Mapping[str, Any]
    train_interactions: int
    epochs_before: int | None
    chosen_by: str | None


def epochs_before(workspace: Workspace, start: Lineage | None) -> int | None:
    """Return the number of epochs of a tuning that is continued, and of the tunings that it continued."""
    return None if start is None else epochs_trained(workspace, start.run)


def record_samples(folder: Path, data: TaskData) -> None:
    """Record in a tuning's folder the interactions and items that the tuning is trained on."""
    write_arrays(folder / TUNED_ON, TunedOn.of(data).arrays())


def save_model(workspace: Workspace, folder: Path, task: TuningTask, trained: Trained, origin: Origin) -> None:
    """Write the tuned model, the items that had codes, and the figures."""
    shutil.rmtree(folder / MODEL_FOLDER, ignore_errors=True)
    model = trained.model
    if task.setup is not None:
        task.setup.detach(model, folder)
    write_arrays(folder / TUNED_CODES, {"item_index": task.item_index})
    manifest = _manifest(workspace, folder / MODEL_FOLDER, task, origin)
    save_tuned(model, task.encoder.tokenizer, folder / MODEL_FOLDER, manifest)
    figures = {**trained.figures, TRAIN_INTERACTIONS: origin.train_interactions}
    if origin.epochs_before is not None:
        figures[EPOCHS_BEFORE] = origin.epochs_before
    if origin.chosen_by is not None:
        figures[CHOSEN_BY] = origin.chosen_by
    write_json(folder / FIGURES, figures)


def _manifest(workspace: Workspace, folder: Path, task: TuningTask, origin: Origin) -> dict[str, Any]:
    path = backbone_path(workspace, origin.backbone)
    is_inside = Path(path).is_relative_to(workspace.root)  # so that it stays valid when the project folder is moved
    settings = {name: value for name, value in origin.settings.items() if name not in ("from", "chosen")}
    levels, codes = task.level_tokens.shape
    dates = task.encoder.dates
    return {
        "mode": task.tuning.mode,
        "history": task.tuning.history,
        "dtype": task.tuning.dtype,
        "backbone": os.path.relpath(path, folder) if is_inside else path,
        "trust_remote_code": workspace.settings.backbone.trust_remote_code,
        "levels": levels,
        "codes": codes,
        "codes_digest": codes_digest(task.item_index, task.codes),
        "code_set_run_id": origin.codebook.run_id,
        "train_cut": settings["split"]["train_cut"],
        "settings": settings,
        **({} if dates is None else {PROMPT_DATES: list(dates.range)}),
    }
