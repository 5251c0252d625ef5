"""The figures of a finished tuning: its file and the names in it."""

from __future__ import annotations

from typing import Any

from semconv.artifacts import read_json
from semconv.data.store import RunRecord
from semconv.runs.files import FIGURES
from semconv.runs.workspace import Workspace

EPOCHS_BEFORE = "epochs_before"  # epochs of the earlier tunings that the weights come from
TRAIN_INTERACTIONS = "train_interactions"  # interactions of the train cut, inside the core or not


def tuning_figures(workspace: Workspace, finetune: RunRecord) -> dict[str, Any]:
    """Read the figures of a tuning."""
    figures: dict[str, Any] = read_json(workspace.intact(finetune, FIGURES))
    return figures


def epochs_trained(workspace: Workspace, finetune: RunRecord) -> int:
    """Epochs that the weights of a tuning have seen, in this tuning and in those that it started from."""
    figures = tuning_figures(workspace, finetune)
    return int(figures["epochs"]) + int(figures.get(EPOCHS_BEFORE, 0))
