"""Choose the blend that the lists of a model use, and check whether a blend can be fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from semconv import columns
from semconv.columns import METHOD_BLEND, METHOD_MODEL, Split
from semconv.data.splits import targets
from semconv.data.store import RunRecord
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages import stage_settings
from semconv.stages.blend.files import read_manifest

HONEST_CUT = "[:-2]"  # the train cut that leaves the validation items out of training


@dataclass(frozen=True)
class ChosenBlend:
    """The blend that a recommend run uses.

    Attributes:
        served: the method that makes the lists for serving, METHOD_BLEND or METHOD_MODEL.
    """

    record: RunRecord
    served: str


def chosen_blend(workspace: Workspace, lineage: Lineage, split: Split) -> ChosenBlend | None:
    """Return the blend that a recommend run uses for a split, or None if the lists come from the model alone.

    Runs for evaluation make the lists of the model and the lists of the blend. Runs for serving use the blend only if
    its figures are better than the model's, or if the setting ``blend.use`` is ``always``.

    Args:
        lineage: the current lineage of the model.
    """
    use, record = workspace.settings.blend.use, lineage.blend
    if use == "never" or record is None:
        return None
    is_served = use == "always" or bool(read_manifest(workspace, record)["is_better"])
    if split == "serve" and not is_served:
        return None
    return ChosenBlend(record, METHOD_BLEND if is_served else METHOD_MODEL)


def say_without_blend(workspace: Workspace, lineage: Lineage) -> None:
    """Say that lists come from the model alone, if a blend could be fitted but has not been fitted."""
    is_wanted = workspace.settings.blend.use != "never" and lineage.blend is None
    if is_wanted and reason_against(workspace, lineage.finetune) is None:
        workspace.progress.say(
            f"{lineage.finetune.run_id} has no blend yet, so these lists come from the model alone; `semconv blend` fits a"
            " blend, and `semconv run` fits a blend and makes the lists"
        )


def reason_against(workspace: Workspace, finetune: RunRecord) -> str | None:
    """Return the reason why no blend can be fitted for a model, or None if one can be fitted."""
    if not (targets(workspace.sequences(split=finetune.settings["split"]), "valid") >= 0).any():
        return "no user has the three interactions that fitting a blend needs"
    settings = stage_settings.blend(workspace, finetune)
    if settings["train_cut"] != HONEST_CUT and fitted_before(workspace, settings) is None:
        return f"the train cut {settings['train_cut']} contains the validation items, and no blend was fitted with {HONEST_CUT}"
    return None


def fitted_before(workspace: Workspace, settings: dict[str, Any]) -> RunRecord | None:
    """Return the newest blend run with the same blend settings whose model has the train cut ``[:-2]``."""
    return next(
        (
            run
            for run in workspace.book.finished(columns.BLEND)
            if run.settings["train_cut"] == HONEST_CUT and run.settings["blend"] == settings["blend"]
        ),
        None,
    )
