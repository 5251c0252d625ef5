"""Choose the blend that the lists of a model use, and check whether a blend can be fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from semconv import columns
from semconv.columns import METHOD_BLEND, METHOD_MODEL, METHOD_WITHOUT_MODEL, Split
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
        served: the method that makes the lists for serving: METHOD_BLEND, METHOD_MODEL or METHOD_WITHOUT_MODEL.
    """

    record: RunRecord
    served: str


def chosen_blend(workspace: Workspace, lineage: Lineage, split: Split) -> ChosenBlend | None:
    """Return the blend that a recommend run uses for a split, or None if the lists come from the model alone.

    Runs for evaluation make the lists of the model and the lists of the blend. Runs for serving use the blend only if
    its figures are better than the model's, or if the setting ``blend.use`` is ``always``. A blend without a model is
    always used.

    Args:
        lineage: the current lineage of the model, or of the blend without a model.
    """
    use, record = workspace.settings.blend.use, lineage.blend
    if lineage.tuned is None:
        return ChosenBlend(lineage.need(columns.BLEND), METHOD_WITHOUT_MODEL)
    if use == "never" or record is None:
        return None
    is_served = use == "always" or bool(read_manifest(workspace, record)["is_better"])
    if split == "serve" and not is_served:
        return None
    return ChosenBlend(record, METHOD_BLEND if is_served else METHOD_MODEL)


def fitting_lineage(workspace: Workspace) -> Lineage:
    """Return the lineage that `semconv blend` fits a blend for: of the current model, or of the newest vectors.

    Raises:
        InputError: there is no model or, with blend.model = false, there are no behaviour vectors.
    """
    if workspace.settings.blend.uses_model():
        return workspace.model_lineage()
    behavior, text = workspace.need(columns.EMBED_BEHAVIOR), workspace.latest(columns.EMBED_TEXT)
    if not workspace.settings.blend.text:
        text = None
    elif text is None:
        workspace.progress.say("no text vectors yet, so the blend is fitted without them; `semconv run` makes them too")
    return Lineage.of_vectors(workspace.store, [behavior, *([] if text is None else [text])])


def say_without_blend(workspace: Workspace, lineage: Lineage) -> None:
    """Say that lists come from the model alone, if a blend could be fitted but has not been fitted."""
    is_wanted = workspace.settings.blend.use != "never" and lineage.blend is None
    if is_wanted and reason_against(workspace, lineage) is None:
        workspace.progress.say(
            f"{lineage.ranker.run_id} has no blend yet, so these lists come from the model alone; `semconv blend` fits a"
            " blend, and `semconv run` fits a blend and makes the lists"
        )


def reason_against(workspace: Workspace, lineage: Lineage) -> str | None:
    """Return the reason why no blend can be fitted for a model, or None if one can be fitted."""
    if not (targets(workspace.sequences(split=lineage.split), "valid") >= 0).any():
        return "no user has the three interactions that fitting a blend needs"
    settings = stage_settings.blend(workspace, lineage)
    if settings["train_cut"] != HONEST_CUT and fitted_before(workspace, settings) is None:
        return f"the train cut {settings['train_cut']} contains the validation items, and no blend was fitted with {HONEST_CUT}"
    return None


def fitted_before(workspace: Workspace, settings: dict[str, Any]) -> RunRecord | None:
    """Return the newest blend run with the same blend settings and the train cut ``[:-2]``."""
    return next(
        (
            run
            for run in workspace.book.finished(columns.BLEND)
            if run.settings["train_cut"] == HONEST_CUT and run.settings["blend"] == settings["blend"]
        ),
        None,
    )
