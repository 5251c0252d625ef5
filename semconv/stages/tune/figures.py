"""The file with the figures of a finished tuning, and the names of these figures."""

from __future__ import annotations

from typing import Any

from semconv.artifacts import read_json
from semconv.data.store import RunRecord
from semconv.runs.files import FIGURES
from semconv.runs.workspace import Workspace

CHOSEN_BY = "epochs_chosen_by"  # the tuning without validation items that chose the number of epochs
EPOCHS_BEFORE = "epochs_before"  # total number of epochs of all earlier tunings that the model continued from
TRAIN_INTERACTIONS = "train_interactions"  # number of interactions in the train cut, including those outside the k-core


def tuning_figures(workspace: Workspace, finetune: RunRecord) -> dict[str, Any]:
    """Read the figures of a tuning."""
    figures: dict[str, Any] = read_json(workspace.intact(finetune, FIGURES))
    return figures


def training_seconds(workspace: Workspace, run: RunRecord) -> float | None:
    """Return the processor seconds that a run recorded for its training; None for a run of an earlier version."""
    path = workspace.book.folder(run) / FIGURES
    return read_json(workspace.intact(run, FIGURES)).get("processor_seconds") if path.exists() else None


def epochs_trained(workspace: Workspace, finetune: RunRecord) -> int:
    """Return the number of epochs of a model's training: those of its tuning and of earlier tunings it continued."""
    figures = tuning_figures(workspace, finetune)
    return int(figures["epochs"]) + int(figures.get(EPOCHS_BEFORE, 0))
