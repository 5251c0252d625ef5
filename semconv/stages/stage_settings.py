"""The settings that each stage reads and records; a changed setting recomputes only the stages that read it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from semconv.artifacts import read_json
from semconv.data.store import RunRecord
from semconv.errors import SettingsError
from semconv.runs.files import BACKBONE_MANIFEST
from semconv.runs.workspace import Workspace, is_loaded
from semconv.settings.tasks import TaskSettings
from semconv.settings.tuning import TuningSettings

# Settings of tuning that change its cost and not its result.
_COST_ONLY = ("checkpoint_seconds", "gradient_checkpointing", "parallel")
_FROM_ONLY = ("replay", "from_learning_rate")  # read only by a tuning that goes on from an earlier one
_FROM_RATE = 1 / 3  # share of the learning rate for a tuning that goes on from an earlier one

# Settings of lists that say when and where they are made, and do not change them.
_PASS_ONLY = ("full_pass_days", "engine", "ray_actors")


def created_backbone(workspace: Workspace) -> dict[str, Any]:
    """Settings of the embedded default: its shape, and the split, because its tokenizer reads training queries only."""
    return {**workspace.section("backbone"), "split": _training_part(workspace)}


def used_backbone(workspace: Workspace, path: str) -> dict[str, Any]:
    """Settings of a pretrained backbone."""
    return {"backbone": {"path": path, "trust_remote_code": workspace.settings.backbone.trust_remote_code}}


def behavior(workspace: Workspace) -> dict[str, Any]:
    """Settings of the behaviour vectors, with the section of their source where it has one."""
    own = ["dccf"] if workspace.settings.behavior.source == "dccf" else []
    return {**workspace.section("behavior", *own), "split": _training_part(workspace)}


def codebook(workspace: Workspace) -> dict[str, Any]:
    """Settings of a code fit, with the section of its method where it has one."""
    return workspace.section("codebook", *(["rqvae"] if workspace.settings.codebook.method == "rqvae" else []))


def loaded_codes(workspace: Workspace, levels: int, codes: int) -> dict[str, Any]:
    """Settings of external codes: the shape of their file, and how collisions are handled."""
    shape = {"levels": levels, "codes": codes, "collisions": workspace.settings.codebook.collisions}
    return {"codebook": shape, "is_loaded": True}


def finetune(
    workspace: Workspace, backbone: RunRecord, codebook: RunRecord, *, goes_on: bool = False
) -> dict[str, Any]:
    """Settings of a tuning; a value that depends on the backbone or the codes is filled in.

    The settings of a tuning that goes on from an earlier one stand under ``from``, so that all others can be compared
    with those of a tuning from the backbone.
    """
    tuning = dataclasses.asdict(resolved_tuning(workspace, backbone, codebook))
    kept = {name: value for name, value in tuning.items() if name not in (*_COST_ONLY, *_FROM_ONLY)}
    tasks = dataclasses.asdict(resolved_tasks(workspace, backbone))
    read = {**workspace.section("split"), "tasks": tasks, "tuning": kept}
    if not goes_on:
        return read
    tuning_on = resolved_tuning(workspace, backbone, codebook, goes_on=True)
    return {**read, "from": {"replay": tuning_on.replay, "learning_rate": tuning_on.learning_rate}}


def recommend(workspace: Workspace) -> dict[str, Any]:
    """Settings of lists, without those that say when and where the lists are made."""
    values = workspace.section("recommend")["recommend"]
    return {"recommend": {name: value for name, value in values.items() if name not in _PASS_ONLY}}


def blend(workspace: Workspace, finetune: RunRecord) -> dict[str, Any]:
    """Settings of a blend: its parts, the counter's exponents, the search and the mask, but not whether it is served."""
    values = dataclasses.asdict(workspace.settings.blend)
    recommend = workspace.settings.recommend
    search = {name: getattr(recommend, name) for name in ("scores", "seen", "where", "dtype")}
    return {
        "blend": {name: value for name, value in values.items() if name != "use"},
        "counter": dataclasses.asdict(workspace.settings.counter),
        "recommend": {**search, "beams": recommend.beam_width},
        "history_length": workspace.settings.split.history_length,
        "train_cut": finetune.settings["split"]["train_cut"],
    }


def resolved_tuning(
    workspace: Workspace, backbone: RunRecord, codebook: RunRecord, *, goes_on: bool = False
) -> TuningSettings:
    """The tuning settings; unset values get the default for this kind of backbone and codes.

    The embedded default starts from random weights. It needs a high learning rate, much dropout, code tokens that start
    from the codebooks, and a loss on the histories too. A pretrained model is tuned by the reference recipe
    (docs/method.md, Tuning).

    Args:
        goes_on: whether the tuning goes on from an earlier one, which has a learning rate of its own.

    Raises:
        SettingsError: code tokens are to start from code vectors, and external codes have none.
    """
    tuning, is_embedded = workspace.settings.tuning, _is_embedded(workspace, backbone)
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


def resolved_tasks(workspace: Workspace, backbone: RunRecord) -> TaskSettings:
    """The settings of the tasks; the embedded default, which has a loss on histories, asks about fewer positions."""
    tasks = workspace.settings.tasks
    if tasks.position_share is None and _is_embedded(workspace, backbone):
        return dataclasses.replace(tasks, position_share=0.2)
    return tasks


def _is_embedded(workspace: Workspace, backbone: RunRecord) -> bool:
    """Whether a backbone is the embedded default."""
    return bool(read_json(workspace.book.folder(backbone) / BACKBONE_MANIFEST)["is_relative"])


def _training_part(workspace: Workspace) -> dict[str, Any]:
    values = workspace.section("split")["split"]
    return {name: value for name, value in values.items() if name != "history_length"}


def named_backbone(workspace: Workspace) -> str:
    """The backbone that the settings name: a folder (relative to the project) or a hub name; empty for the default."""
    path = workspace.settings.backbone.path
    inside = workspace.root / Path(path).expanduser()
    return str(inside.resolve()) if path and inside.exists() else path
