"""Choose the blend that the lists of a model use, and check whether a blend can be fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from semconv import columns
from semconv.columns import METHOD_BLEND, METHOD_MODEL, METHOD_WITHOUT_MODEL, Split
from semconv.data.splits import targets
from semconv.data.store import RunRecord
from semconv.errors import InputError, SettingsError
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages import stage_settings
from semconv.stages.agreement import HONEST_CUT, MASK, first_difference, leak, mask_of, shown
from semconv.stages.blend.files import read_manifest
from semconv.stages.held_out import held_out_items


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

    Raises:
        SettingsError: all blends of the model, or the blend without a model, were fitted with other scores or another
            mask.
    """
    use, newest = workspace.settings.blend.use, lineage.blend
    if lineage.tuned is None:
        newest = lineage.need(columns.BLEND)
    elif use == "never" or newest is None:
        return None
    record = fitting_blend(workspace, lineage)
    if record is None:
        raise SettingsError(_why_not_fitting(workspace, lineage, newest))
    if lineage.tuned is None:
        return ChosenBlend(record, METHOD_WITHOUT_MODEL)
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


def fitting_blend(workspace: Workspace, lineage: Lineage) -> RunRecord | None:
    """Return the newest blend that was fitted with the scores and the mask of the settings; None if none was.

    Args:
        lineage: the current lineage of the model, whose blends are searched, or of a blend without a model.

    Raises:
        SettingsError: the settings ask for other scores or another mask than the model was tuned for.
    """
    wanted = _searched(stage_settings.blend(workspace, lineage))
    if lineage.tuned is None:
        blends = [lineage.need(columns.BLEND)]
    else:
        blends = [run for run in workspace.book.finished(columns.BLEND) if lineage.tuned.run_id in run.inputs]
    return next((run for run in blends if _searched(run.settings) == wanted), None)


def _why_not_fitting(workspace: Workspace, lineage: Lineage, blend: RunRecord) -> str:
    name, had, value = first_difference(_searched(blend.settings), _searched(stage_settings.blend(workspace, lineage)))
    return (
        f"{name} = {value}: the weights of {blend.run_id} were fitted with {name} = {had}; fit a blend for these lists"
        f" with `semconv blend`, or set {name} = {had}"
    )


def _searched(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores and the mask with which the weights of a blend were fitted, from the blend's settings."""
    return {"scores": settings["recommend"].get("scores"), **mask_of(settings["recommend"])}


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
    sequences = workspace.sequences(split=lineage.split)
    if not (targets(sequences, "valid") >= 0).any():
        return "no user has the three interactions that fitting a blend needs"
    try:
        if weights_before(workspace, lineage) is None:  # then the weights are fitted on validation items
            held_out, _ = held_out_items(workspace, lineage.runs, sequences, "valid")
            if not (held_out >= 0).any():
                return "the model may have been trained on the validation item of every user"
    except InputError as error:
        return str(error)
    return None


def weights_before(workspace: Workspace, lineage: Lineage) -> RunRecord | None:
    """Return the blend run whose weights a blend takes over; None if the blend fits its own.

    If the validation items are training data, weights fitted on them would be too optimistic. So such a blend takes
    weights that were fitted with the train cut ``[:-2]``, and with the same features, split, kind of history, scores and
    mask.

    Args:
        lineage: the current lineage of the model, or of the vectors of a blend without a model.

    Raises:
        InputError: there is no such blend run (the message names the settings that differ), or a run of the lineage
            was trained on the validation items although the train cut leaves them out.
        SettingsError: the settings ask for other scores or another mask than the model was tuned for.
    """
    settings = stage_settings.blend(workspace, lineage)
    if settings["train_cut"] == HONEST_CUT:
        if (why := leak("valid", lineage.runs)) is not None:
            raise InputError(
                f"{why} on which a blend is fitted; train again with `semconv run --refit`, and the blend is fitted then"
            )
        return None
    wanted = _weights_key(settings, lineage)
    honest = [run for run in workspace.book.finished(columns.BLEND) if run.settings["train_cut"] == HONEST_CUT]
    keys = [_weights_key(run.settings, Lineage.of(workspace.store, run)) for run in honest]
    for run, key in zip(honest, keys, strict=True):
        if key == wanted:
            return run
    why = f"no blend was fitted with {HONEST_CUT}"
    if honest:
        nearest = min(range(len(keys)), key=lambda at: len(_differing(keys[at], wanted)))
        had = keys[nearest]
        differing = ", ".join(f"{name} = {shown(had.get(name))}" for name in _differing(had, wanted))
        why = f"the blend {honest[nearest].run_id} for {HONEST_CUT} was fitted with {differing}"
    raise InputError(
        f"the train cut {settings['train_cut']} contains the validation items on which a blend is fitted, and {why};"
        f" fit a blend with these settings for the train cut {HONEST_CUT} first: then its weights are used"
    )


def _weights_key(settings: Mapping[str, Any], lineage: Lineage) -> dict[str, Any]:
    """Return the settings on which the weights of a blend depend, by ``section.key``.

    Args:
        settings: the settings of a blend (``stage_settings.blend``).
        lineage: of the blend, or of the model or the vectors that it is fitted for.
    """
    tuned = lineage.tuned
    split = {name: value for name, value in lineage.split.items() if name not in ("train_cut", "events")}
    sections = {
        "blend": {"model": True, "smoothed": False, **settings["blend"]},
        **{name: settings.get(name, {}) for name in ("counter", "smoothed")},
        "split": {**split, "history_length": settings["history_length"]},
        "events": lineage.split.get("events", {}),
        "tuning": {} if tuned is None else {"history": tuned.settings["tuning"].get("history", "tokens")},
        "recommend": {"scores": settings["recommend"].get("scores")},
    }
    flat = {f"{section}.{name}": value for section, values in sections.items() for name, value in values.items()}
    return flat | {MASK[name]: value for name, value in mask_of(settings["recommend"]).items()}


def _differing(had: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the names of the settings that differ; names that only ``wanted`` has follow from others, if there are any."""
    names = [name for name in {**wanted, **had} if had.get(name) != wanted.get(name)]
    return [name for name in names if name in had] or names
