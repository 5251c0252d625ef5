"""Which blend the lists of a model use, and whether one can be fitted."""

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

HONEST_CUT = "[:-2]"  # the train cut without the validation items


@dataclass(frozen=True)
class ChosenBlend:
    """The blend that a recommend run reads.

    Attributes:
        served: the method whose lists the run serves, METHOD_BLEND or METHOD_MODEL.
    """

    record: RunRecord
    served: str


def chosen_blend(workspace: Workspace, lineage: Lineage, split: Split) -> ChosenBlend | None:
    """The blend for the lists of a split; None when only the model's own lists are made.

    Lists for evaluation hold both methods. Lists for serving read a blend only when it is served.

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
    """Say that the lists will be the model's alone, when a blend could be fitted and was not."""
    is_wanted = workspace.settings.blend.use != "never" and lineage.blend is None
    if is_wanted and reason_against(workspace, lineage.finetune) is None:
        workspace.progress.say(
            f"{lineage.finetune.run_id} has no blend yet, so these lists are the model's alone; `semconv blend` fits one,"
            " and `semconv run` does both"
        )


def reason_against(workspace: Workspace, finetune: RunRecord) -> str | None:
    """Why no blend can be fitted for a model; None when one can."""
    if not (targets(workspace.sequences(split=finetune.settings["split"]), "valid") >= 0).any():
        return "no user has the three interactions that it is fitted on"
    settings = stage_settings.blend(workspace, finetune)
    if settings["train_cut"] != HONEST_CUT and fitted_before(workspace, settings) is None:
        return f"the train cut {settings['train_cut']} contains the validation items, and no blend was fitted with {HONEST_CUT}"
    return None


def fitted_before(workspace: Workspace, settings: dict[str, Any]) -> RunRecord | None:
    """The newest blend with the same parts whose weights were fitted under ``[:-2]``."""
    return next(
        (
            run
            for run in workspace.book.finished(columns.BLEND)
            if run.settings["train_cut"] == HONEST_CUT and run.settings["blend"] == settings["blend"]
        ),
        None,
    )
