"""Measure whether a blend without a model should be fitted again."""

from __future__ import annotations

from typing import Any

from semconv.data.splits import train_mask
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.blend.files import read_manifest
from semconv.stages.codes.refit import growth_state
from semconv.stages.tune.figures import TRAIN_INTERACTIONS


def blend_refit_state(workspace: Workspace, lineage: Lineage) -> dict[str, Any]:
    """Return whether a refit is due because there are many more interactions than at the fit (``refit_state``).

    Args:
        lineage: of a blend without a model.
    """
    sequences = workspace.sequences(split=lineage.split)
    now = int(train_mask(sequences, lineage.split["train_cut"]).sum())
    return growth_state(workspace, int(read_manifest(workspace, lineage.ranker)[TRAIN_INTERACTIONS]), now)
