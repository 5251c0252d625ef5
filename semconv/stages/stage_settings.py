"""What of the settings each stage reads: no more, so that a change redoes what it concerns and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from semconv.artifacts import read_json
from semconv.data.store import RunRecord
from semconv.errors import SettingsError
from semconv.evaluation.methods import TRANSITION, sql_method
from semconv.runs.workspace import Context, is_loaded
from semconv.settings.tree import TaskSettings, TuningSettings, run_settings

BACKBONE_MANIFEST = "backbone.json"
# Of tuning: how it runs, not what comes out.
_COSTS_ALONE = ("checkpoint_seconds", "gradient_checkpointing", "parallel")
_OF_GOING_ON = ("replay", "from_learning_rate")  # of tuning: what only one that goes on from an earlier run reads
_FROM_RATE = 1 / 3  # of the peak rate of a training from the start

# Of lists: when and by whom they are made, not what is in them.
_OF_A_PASS = ("full_every_days", "engine", "ray_actors")


def created_backbone(context: Context) -> dict[str, Any]:
    """Of the embedded default: its shape, and which queries its tokenizer may see."""
    return {**context.section("backbone"), "split": _training_part(context)}


def used_backbone(context: Context, path: str) -> dict[str, Any]:
    """Of a pretrained backbone."""
    return {"backbone": {"path": path, "trust_remote_code": context.settings.backbone.trust_remote_code}}


def behavior(context: Context) -> dict[str, Any]:
    """Of the behaviour vectors: a source's own section where it has one."""
    own = ["dccf"] if context.settings.behavior.source == "dccf" else []
    return {**context.section("behavior", *own), "split": _training_part(context)}


def codebook(context: Context) -> dict[str, Any]:
    """Of a fit: a method's own section where it has one."""
    return context.section("codebook", *(["rqvae"] if context.settings.codebook.method == "rqvae" else []))


def loaded_codes(context: Context, levels: int, codes: int) -> dict[str, Any]:
    """Of codes made elsewhere, whose shape is their file's: what to do about those that items share."""
    shape = {"levels": levels, "codes": codes, "collisions": context.settings.codebook.collisions}
    return {"codebook": shape, "is_loaded": True}


def finetune(context: Context, backbone: RunRecord, codebook: RunRecord, *, goes_on: bool = False) -> dict[str, Any]:
    """Of a tuning, everything that depends on the kind of backbone and of codes filled in.

    What concerns going on from an earlier run stands apart, so that the rest compares with a tuning from the start.
    """
    tuning = run_settings(resolved_tuning(context, backbone, codebook))
    kept = {name: value for name, value in tuning.items() if name not in (*_COSTS_ALONE, *_OF_GOING_ON)}
    tasks = run_settings(resolved_tasks(context, backbone))
    read = {**context.section("split"), "tasks": tasks, "tuning": kept}
    if not goes_on:
        return read
    tuning_on = resolved_tuning(context, backbone, codebook, goes_on=True)
    return {**read, "from": {"replay": tuning_on.replay, "learning_rate": tuning_on.learning_rate}}


def recommend(context: Context) -> dict[str, Any]:
    """Of lists, without how often all of them are made anew, and by whom."""
    values = context.section("recommend")["recommend"]
    return {"recommend": {name: value for name, value in values.items() if name not in _OF_A_PASS}}


def blend(context: Context, finetune: RunRecord) -> dict[str, Any]:
    """Of a blend: its parts, the counter's exponents, the search and the mask. Whether it is used is no part of it."""
    values = dataclasses.asdict(context.settings.blend)
    recommend = context.settings.recommend
    search = {name: getattr(recommend, name) for name in ("scores", "seen", "where", "dtype")}
    beams = recommend.beams or max(20, recommend.top_k)
    return {
        "blend": {name: value for name, value in values.items() if name != "use"},
        "counter": transition_parameters(context),
        "recommend": {**search, "beams": beams},
        "history_length": context.settings.split.history_length,
        "train_cut": finetune.settings["split"]["train_cut"],
    }


def transition_parameters(context: Context) -> dict[str, float]:
    """Exponents of the transition counter, by the names of the SQL baseline's parameters."""
    return sql_method(TRANSITION).parameters(context.settings.evaluate)


def resolved_tuning(
    context: Context, backbone: RunRecord, codebook: RunRecord, *, goes_on: bool = False
) -> TuningSettings:
    """The tuning settings with everything that depends on the kind of backbone and of codes filled in.

    A tuning that ``goes_on`` from an earlier run has the learning rate of its own.

    A model made from nothing wants a high rate, much dropout, codes that start where the codebooks put them and a loss
    on histories; a pretrained one wants the line's reference recipe (method: Tuning).

    Raises:
        SettingsError: rows of tokens are to start from code vectors that codes made elsewhere do not have.
    """
    tuning, is_embedded = context.settings.tuning, _is_embedded(context, backbone)
    rate, weight, dropout = (1.5e-3, 1.0, 0.2) if is_embedded else (5e-5, 0.0, 0.05)
    over: Literal["vocabulary", "trie"] = "trie" if is_embedded else "vocabulary"
    has_books = not is_loaded(codebook)
    start: Literal["random", "codebook"] = "codebook" if is_embedded and has_books else "random"
    if not has_books and tuning.code_start not in ("auto", "random"):
        raise SettingsError(
            f"tuning.code_start = {tuning.code_start} needs code vectors, and {codebook.run_id} was loaded from a file without any;"
            " set it to random, or make codes with `semconv codebook fit`"
        )
    rate = rate if tuning.learning_rate is None else tuning.learning_rate
    if goes_on:
        rate = rate * _FROM_RATE if tuning.from_learning_rate is None else tuning.from_learning_rate
    return dataclasses.replace(
        tuning,
        learning_rate=rate,
        dropout=dropout if tuning.dropout is None else tuning.dropout,
        history_loss=weight if tuning.history_loss is None else tuning.history_loss,
        loss_over=over if tuning.loss_over == "auto" else tuning.loss_over,
        code_start=start if tuning.code_start == "auto" else tuning.code_start,
    )


def resolved_tasks(context: Context, backbone: RunRecord) -> TaskSettings:
    """The tasks' settings with the share of places filled in: a model with a loss on histories is asked less often."""
    tasks = context.settings.tasks
    if tasks.place_share is None and _is_embedded(context, backbone):
        return dataclasses.replace(tasks, place_share=0.2)
    return tasks


def _is_embedded(context: Context, backbone: RunRecord) -> bool:
    """Whether a backbone was made from nothing."""
    return bool(read_json(context.book.folder(backbone) / BACKBONE_MANIFEST)["is_relative"])


def _training_part(context: Context) -> dict[str, Any]:
    values = context.section("split")["split"]
    return {name: value for name, value in values.items() if name != "history_length"}


def named_backbone(context: Context) -> str:
    """The backbone that the settings name: a folder, of the project if relative, or a hub name; empty for none."""
    path = context.settings.backbone.path
    inside = context.root / Path(path).expanduser()
    return str(inside.resolve()) if path and inside.exists() else path
