"""Check that the loss, early stopping, the blend and the lists of a model use the same scores and the same mask.

The score of a code is its log probability among all tokens of the vocabulary, or among the codes that exist after the
same prefix. A loss over such codes leaves the other tokens untrained, so a search that normalises over the vocabulary
ranks by noise. Early stopping chooses the epoch whose lists are best, and lists with and without seen items have
different best epochs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from semconv.columns import Split, TrainCut
from semconv.data.store import RunRecord
from semconv.errors import SettingsError
from semconv.runs.lineage import Lineage
from semconv.settings.recommend import RecommendSettings

HONEST_CUT: Final = "[:-2]"  # the train cut that leaves the validation items out of training
# The settings that determine which seen items a list leaves out: our name in a run's settings, then the setting's name.
MASK = {"seen": "recommend.seen", "seen_days": "recommend.seen_days", "seen_types": "events.seen"}
_TRAINED_ON: Mapping[TrainCut, tuple[Split, ...]] = {"[:-2]": (), "[:-1]": ("valid",), "[:]": ("valid", "test")}
_HELD_OUT = {"valid": "validation", "test": "test"}
_SCORES_OF_LOSS: Mapping[str, Literal["full", "trie"]] = {"trie": "trie", "vocabulary": "full"}


def code_scores(recommend: RecommendSettings, tuning: Mapping[str, Any]) -> Literal["full", "trie"]:
    """Return over which tokens lists normalise the probability of a code: the same as the loss of the model.

    Args:
        tuning: the section ``tuning`` of the settings of a tuning run, in which ``loss_over`` is not ``auto``.

    Raises:
        SettingsError: ``recommend.scores`` differs from the loss. A model that reads items has no scores of codes.
    """
    of_loss = _SCORES_OF_LOSS[tuning["loss_over"]]
    if recommend.scores == "auto":
        return of_loss
    if recommend.scores != of_loss and tuning.get("history") != "items":
        raise SettingsError(
            f"recommend.scores = {recommend.scores}: the lists would normalise the probability of a code over other tokens"
            f" than the loss of the model (tuning.loss_over = {tuning['loss_over']}); set recommend.scores = auto, or"
            " change tuning.loss_over and tune again with `semconv run --refit`"
        )
    return recommend.scores


def mask_of(recommend: Mapping[str, Any]) -> dict[str, Any]:
    """Return which seen items lists leave out: the values of the settings ``MASK``, by our name.

    If no seen item is left out, the days and types of seen items do not matter, and are those of the default.

    Args:
        recommend: the section ``recommend`` of the settings of a run. A run without ``seen`` left out all seen items.
    """
    seen = recommend.get("seen", "masked")
    masked = recommend if seen == "masked" else {}
    days, types = masked.get("seen_days", 0.0), masked.get("seen_types", [])
    return {"seen": seen, "seen_days": float(days), "seen_types": sorted(types)}


def filter_of(recommend_run: Mapping[str, Any]) -> str:
    """Return the SQL condition on the items in the lists of a recommend run, from its settings; empty for all items.

    It joins the setting ``recommend.where`` and the filter of the command.
    """
    conditions = [recommend_run["recommend"]["where"], recommend_run.get("where", "")]
    return " AND ".join(f"({condition})" if all(conditions) else condition for condition in filter(None, conditions))


def stopping_mask(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the mask (``mask_of``) of the lists that chose the epoch of a model; None if no validation chose it.

    Args:
        settings: the settings of a tuning run. A run that recorded no mask was validated with all seen items left out.
    """
    if settings["split"]["train_cut"] != HONEST_CUT or not settings["tuning"]["validation_users"]:
        return None
    return mask_of(settings.get("recommend", {}))


def require_same_mask(recommend: Mapping[str, Any], finetune: RunRecord) -> None:
    """Raise SettingsError if early stopping chose the epoch of a model on lists with another mask.

    Args:
        recommend: the values of the settings ``MASK``, by our name.
    """
    wanted, chosen_with = mask_of(recommend), stopping_mask(finetune.settings)
    if chosen_with is None or chosen_with == wanted:
        return
    name, had, value = first_difference(chosen_with, wanted)
    raise SettingsError(
        f"{name} = {value}: early stopping of {finetune.run_id} scored lists with {name} = {had}; set it to {had}, or"
        " tune a model for the new value with `semconv run --refit`"
    )


def first_difference(had: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the name of the first setting of a search that differs, its earlier value and its wanted value."""
    key = next(key for key in ("scores", *MASK) if had.get(key) != wanted.get(key))
    return MASK.get(key, f"recommend.{key}"), shown(had.get(key)), shown(wanted.get(key))


def shown(value: Any) -> str:
    """Return the value of a setting as a message shows it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def trained_on(split: Split, train_cut: TrainCut) -> str | None:
    """Return the held-out items of a split if a model of a train cut was trained on them; None if it was not.

    Args:
        split: ``valid`` or ``test``; lists for serving hold nothing out.
        train_cut: of the model, or of the counts of a blend without a model.
    """
    return f"the {_HELD_OUT[split]} items" if split in _TRAINED_ON[train_cut] else None


def train_cut_of(run: RunRecord) -> TrainCut:
    """Return the train cut of a run of a lineage; HONEST_CUT for a run that learns from no interactions."""
    split = run.settings.get("split")  # of a recommend run, this is the name of the split
    cut: TrainCut = split["train_cut"] if isinstance(split, Mapping) else run.settings.get("train_cut", HONEST_CUT)
    return cut


def leak(split: Split, runs: Iterable[RunRecord]) -> str | None:
    """Return why an evaluation on a split would score a model on items that it was trained on; None if it would not.

    Args:
        runs: of the lineage of the model. Its vectors, its codes and its backbone count as much as its tuning.
    """
    for run in runs:
        cut = train_cut_of(run)
        known = trained_on(split, cut)
        if known is not None:
            return f"{run.run_id} was trained with split.train_cut = {cut}, which contains {known}"
    return None


def require_held_out(split: Split, lineage: Lineage) -> None:
    """Raise SettingsError if an evaluation on a split would score a model on items that it was trained on."""
    why = leak(split, lineage.runs)
    if why is None:
        return
    other = "" if split == "test" or leak("test", lineage.runs) is not None else "give --split test, or "
    raise SettingsError(
        f"{why}, so figures on these items would be too high; {other}set split.train_cut = {HONEST_CUT} and train again with"
        " `semconv run --refit`"
    )
