"""The settings that each stage reads and records. A changed setting makes only the stages that read it recompute."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from semconv import columns
from semconv.data.store import RunRecord
from semconv.errors import SettingsError
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace, is_created, is_loaded
from semconv.settings.tasks import TaskSettings
from semconv.settings.text_vectors import TextKind
from semconv.settings.tuning import VALIDATION_USERS, TuningSettings
from semconv.stages.agreement import code_scores, mask_of, require_same_mask, stopping_mask

# Settings that change the time or memory of a tuning, but not its result.
_COST_ONLY = ("checkpoint_seconds", "gradient_checkpointing", "parallel")
_FROM_ONLY = ("replay", "from_learning_rate")  # read only by a tuning that continues from an earlier one
_TOKEN_EPOCHS = 6
_ITEM_RATE = 1e-3  # of the item parts of a pretrained model, which start untrained, as the built-in backbone does
# The peak learning rate and the dropout of the built-in backbone, by its kind of history, and of a pretrained model.
_RATE_AND_DROPOUT = {"items": (1e-3, 0.1), "tokens": (1.5e-3, 0.2), "pretrained": (5e-5, 0.05)}
_FROM_RATE = 1 / 3  # A tuning that continues from an earlier one uses this share of the learning rate.

# Settings that determine when and where lists are made, but do not change the lists.
_PASS_ONLY = ("full_pass_days", "engine", "ray_actors")


def created_backbone(workspace: Workspace) -> dict[str, Any]:
    """Return the settings of the built-in backbone: its shape, and the split that chooses its training data."""
    return {**workspace.section("backbone"), "split": _training_part(workspace)}


def used_backbone(workspace: Workspace, path: str) -> dict[str, Any]:
    """Return the settings of a pretrained backbone."""
    return {"backbone": {"path": path, "trust_remote_code": workspace.settings.backbone.trust_remote_code}}


def behavior(workspace: Workspace) -> dict[str, Any]:
    """Return the settings of the behaviour vectors, and the settings section of their source if there is one."""
    own = ["dccf"] if workspace.settings.behavior.source == "dccf" else []
    return {**workspace.section("behavior", *own), "split": _training_part(workspace)}


def text(workspace: Workspace, backbone: RunRecord) -> dict[str, Any]:
    """Return the settings of the text vectors. Means of input embeddings have none, as in runs of earlier versions."""
    settings = workspace.settings.text
    kind: str = settings.vectors
    if kind == "auto":
        kind = "tfidf" if is_created(backbone) else "mean"
    if kind == "mean":
        return {}
    if kind == "tfidf":
        return {"text": {"vectors": kind, "dimensions": settings.dimensions, "seed": settings.seed}}
    return {"text": {"vectors": kind}}


def text_kind(settings: Mapping[str, Any]) -> TextKind:
    """Return how text vectors are made, from the result of ``text`` or from the settings of a run."""
    kind: TextKind = settings.get("text", {}).get("vectors", "mean")
    return kind


def codebook(workspace: Workspace) -> dict[str, Any]:
    """Return the settings of a codebook fit, and the settings section of its method if there is one."""
    return workspace.section("codebook", *(["rqvae"] if workspace.settings.codebook.method == "rqvae" else []))


def loaded_codes(workspace: Workspace, levels: int, codes: int) -> dict[str, Any]:
    """Return the settings of external codes: the number of levels and codes, and how collisions are handled."""
    shape = {"levels": levels, "codes": codes, "collisions": workspace.settings.codebook.collisions}
    return {"codebook": shape, "is_loaded": True}


def finetune(
    workspace: Workspace, backbone: RunRecord, codebook: RunRecord, *, goes_on: bool = False
) -> dict[str, Any]:
    """Return the settings of a tuning. Defaults that depend on the backbone or the codes are filled in.

    Some settings are read only when a tuning continues an earlier one. Such settings are under the key ``from``, so all
    other settings can be compared with those of a tuning from the backbone.
    """
    tuning = dataclasses.asdict(resolved_tuning(workspace, backbone, codebook))
    kept = {name: value for name, value in tuning.items() if name not in (*_COST_ONLY, *_FROM_ONLY)}
    if kept["history"] != "items" or kept["item_learning_rate"] == kept["learning_rate"]:
        del kept["item_learning_rate"]  # it is not read, or it is no rate of its own
    if _has_changed(kept):
        kept["revision"] = 1
    tasks = dataclasses.asdict(resolved_tasks(workspace, backbone))
    read = {**workspace.section("split"), "tasks": tasks, "tuning": kept}
    mask = {"seen": workspace.settings.recommend.seen, **masked(workspace)}
    if stopping_mask(read) is not None and mask_of(mask) != mask_of({}):  # left out, as in tunings of earlier versions
        read["recommend"] = mask
    if not goes_on:
        return read
    tuning_on = resolved_tuning(workspace, backbone, codebook, goes_on=True)
    return {**read, "from": {"replay": tuning_on.replay, "learning_rate": tuning_on.learning_rate}}


def _has_changed(tuning: Mapping[str, Any]) -> bool:
    """Return whether an earlier version recorded the same settings of a tuning for another result.

    It ignored ``dates`` for prompts, and trained the network of ``code_start`` from prompts with text alone for items.
    """
    if tuning["history"] == "tokens":
        return bool(tuning["dates"])
    return tuning["code_start"] in ("mlp2", "mlp3")


def recommend(workspace: Workspace, lineage: Lineage) -> dict[str, Any]:
    """Return the settings that change lists, without those that only determine when and where lists are made.

    Args:
        lineage: of the model, or of a blend without a model.

    Raises:
        SettingsError: the settings ask for other scores or another mask than the model was tuned for.
    """
    values = {**dataclasses.asdict(workspace.settings.recommend), "scores": _scores(workspace, lineage)}
    kept = {name: value for name, value in values.items() if name not in (*_PASS_ONLY, "seen_days")}
    return {"recommend": {**kept, **masked(workspace)}}


def _scores(workspace: Workspace, lineage: Lineage) -> str:
    """Return the scores of the search, once it is known that the model was tuned for these scores and this mask."""
    asked = workspace.settings.recommend
    if lineage.tuned is None:  # nothing is searched
        return "trie" if asked.scores == "auto" else asked.scores
    require_same_mask({"seen": asked.seen, **masked(workspace)}, lineage.tuned)
    return code_scores(asked, lineage.tuned.settings["tuning"])


def masked(workspace: Workspace) -> dict[str, Any]:
    """Return the settings that say which seen items are masked, without those that have their default."""
    days, types = workspace.settings.recommend.seen_days, workspace.settings.events.seen
    return {**({"seen_days": days} if days else {}), **({"seen_types": sorted(types)} if types else {})}


def blend(workspace: Workspace, lineage: Lineage) -> dict[str, Any]:
    """Return the settings of a blend: its parts, the transition counter, the search, and whether seen items are masked.

    The setting that decides whether lists of the blend are served is not included.

    Args:
        lineage: of the model, or of the vectors of a blend without a model.

    Raises:
        SettingsError: the settings ask for other scores or another mask than the model was tuned for.
    """
    parts = {name: value for name, value in dataclasses.asdict(workspace.settings.blend).items() if name != "use"}
    sections = ["counter"]
    if parts["model"]:  # left out, as in blends of earlier versions
        del parts["model"]
    if parts["smoothed"]:
        sections.append("smoothed")
    else:
        del parts["smoothed"]
    recommend = workspace.settings.recommend
    search = {name: getattr(recommend, name) for name in ("seen", "where")}
    if lineage.tuned is not None:
        search |= {"scores": _scores(workspace, lineage), "dtype": recommend.dtype, "beams": recommend.beam_width}
    return {
        "blend": parts,
        **workspace.section(*sections),
        "recommend": {**search, **masked(workspace)},
        "history_length": workspace.settings.split.history_length,
        "train_cut": lineage.split["train_cut"],
    }


def settings_today(workspace: Workspace, lineage: Lineage) -> dict[str, dict[str, Any]]:
    """Return the settings that the stages of a model, or of a blend without one, would read now, by stage."""
    named, backbone = named_backbone(workspace), lineage.find(columns.BACKBONE)
    of_backbone: dict[str, Any] = {}  # a backbone from `semconv backbone use` is kept
    if named:
        of_backbone = used_backbone(workspace, named)
    elif backbone is not None and is_created(backbone):
        of_backbone = created_backbone(workspace)
    of_vectors = {
        columns.BACKBONE: of_backbone,
        columns.EMBED_BEHAVIOR: behavior(workspace),
        # Means record no setting of their own, which None stands for.
        columns.EMBED_TEXT: {} if backbone is None else {"text": None, **text(workspace, backbone)},
    }
    if lineage.tuned is None:
        return of_vectors
    return {
        **of_vectors,
        columns.CODEBOOK: {} if is_loaded(lineage.codebook) else codebook(workspace),
        columns.FINETUNE: finetune(workspace, lineage.backbone, lineage.codebook),
    }


def resolved_tuning(
    workspace: Workspace, backbone: RunRecord, codebook: RunRecord, *, goes_on: bool = False
) -> TuningSettings:
    """Return the tuning settings. Settings without a value get the default for this kind of backbone and codes.

    The built-in backbone starts from random weights. A model with random weights needs a high learning rate, code tokens
    that start from the codebooks, and a loss on histories as well as labels. A pretrained model is tuned by the reference
    recipe (docs/method.md, Backbone). The number of epochs with histories as items depends on the data
    (``item_head.recipe``), so it stays empty here.

    Args:
        goes_on: whether the tuning continues from an earlier one; it then has its own learning rate.

    Raises:
        SettingsError: the settings start code tokens from code vectors, but the codes are external and have none.
    """
    tuning, is_embedded = resolved_form(workspace, backbone), is_created(backbone)
    history = tuning.history
    rate, dropout = _RATE_AND_DROPOUT[history if is_embedded else "pretrained"]
    weight = 1.0 if is_embedded else 0.0
    over: Literal["vocabulary", "trie"] = "trie" if is_embedded else "vocabulary"
    has_books = not is_loaded(codebook)
    start: Literal["random", "codebook"] = "codebook" if is_embedded and has_books else "random"
    if not has_books and tuning.code_start not in ("auto", "random"):
        raise SettingsError(
            f"tuning.code_start = {tuning.code_start} needs code vectors, but the external codes of {codebook.run_id} have none;"
            " set it to random, or fit codes with `semconv codebook fit`"
        )
    rate = rate if tuning.learning_rate is None else tuning.learning_rate
    item_rate = tuning.item_learning_rate
    if item_rate is None:
        item_rate = rate if is_embedded else _ITEM_RATE
    if goes_on:
        rate, item_rate = _lowered(rate, item_rate, tuning.from_learning_rate)
    return dataclasses.replace(
        tuning,
        validation_users=VALIDATION_USERS[history] if tuning.validation_users is None else tuning.validation_users,
        epochs=_TOKEN_EPOCHS if tuning.epochs is None and history == "tokens" else tuning.epochs,
        learning_rate=rate,
        item_learning_rate=item_rate,
        dropout=dropout if tuning.dropout is None else tuning.dropout,
        history_loss=weight if tuning.history_loss is None else tuning.history_loss,
        loss_over=over if tuning.loss_over == "auto" else tuning.loss_over,
        code_start=start if tuning.code_start == "auto" else tuning.code_start,
    )


def _lowered(rate: float, item_rate: float, wanted: float | None) -> tuple[float, float]:
    """Return the learning rate and that of the item parts for a tuning that continues from an earlier one.

    Args:
        wanted: the learning rate; None for the default.
    """
    lower = rate * _FROM_RATE if wanted is None else wanted
    if item_rate == rate:
        return lower, lower  # equal to the last bit
    return lower, item_rate * (lower / rate if rate else _FROM_RATE)


def resolved_form(workspace: Workspace, backbone: RunRecord) -> TuningSettings:
    """Return the tuning settings with two defaults filled in: how the model reads histories, and whether it reads dates."""
    tuning = workspace.settings.tuning
    history = _history(tuning, is_embedded=is_created(backbone))
    dates = history == "items" if tuning.dates is None else tuning.dates
    return dataclasses.replace(tuning, history=history, dates=dates)


def resolved_tasks(workspace: Workspace, backbone: RunRecord) -> TaskSettings:
    """Return the settings of the tasks. Settings without a value get the default for this kind of backbone and history."""
    tasks, is_embedded = workspace.settings.tasks, is_created(backbone)
    text_share = 0.2 if _history(workspace.settings.tuning, is_embedded=is_embedded) == "items" else 1.0
    return dataclasses.replace(
        tasks,
        position_share=0.2 if tasks.position_share is None and is_embedded else tasks.position_share,
        text_share=text_share if tasks.text_share is None else tasks.text_share,
    )


def _history(tuning: TuningSettings, *, is_embedded: bool) -> Literal["tokens", "items"]:
    """Return how a model reads histories."""
    if tuning.history == "auto":
        return "items" if is_embedded and tuning.mode == "full" else "tokens"
    return tuning.history


def _training_part(workspace: Workspace) -> dict[str, Any]:
    values = workspace.section("split")["split"]
    return {name: value for name, value in values.items() if name != "history_length"}


def named_backbone(workspace: Workspace) -> str:
    """Return the backbone's folder or hub name, as the settings name it; empty for the built-in backbone."""
    path = workspace.settings.backbone.path
    inside = workspace.root / Path(path).expanduser()
    return str(inside.resolve()) if path and inside.exists() else path
