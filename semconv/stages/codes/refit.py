"""Decide whether a refit is due: measure what changed since the codes were fitted and the model was tuned.

Each figure is compared with its own value at the codebook fit, so no refit is due right after a fit. The distance of
new items to their codes is compared with the same distance for items that the fit held out. An item whose codes were
predicted from text is called outgrown when a new fit would learn its vector from interactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import read_json
from semconv.backbone.text_vectors import TextVectors
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.splits import train_mask
from semconv.data.store import RunRecord
from semconv.runs.files import BEHAVIOR_VECTORS, FIGURES, TEXT_VECTORS, table_file
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.codebook import CodebookSettings
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.codes.rows import training_counts
from semconv.stages.tune.figures import TRAIN_INTERACTIONS
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.figures import nearest_code_error

MIN_NEW_ITEMS = 20  # With fewer new items, the mean distance of items to their codes varies too much by chance.

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Coded:
    """A code set, the codes assigned to new items since the codebook fit, and the vectors used for the fit."""

    lineage: Lineage
    code_set: CodeSet
    codes: ItemCodes  # codes of the fit first, then of each assign run
    vectors: BehaviorVectors
    text_index: NDArray[np.int32]  # items with text in the catalogue when the codes were fitted

    @classmethod
    def read(cls, workspace: Workspace, lineage: Lineage) -> Coded:
        """Load a code set, the codes of its assign runs, and the vectors used for the codebook fit."""
        folder, text = workspace.book.folder, lineage.text
        return cls(
            lineage,
            CodeSet.load(folder(lineage.codebook)),
            ItemCodes.read(workspace, lineage.code_runs),
            BehaviorVectors.load(folder(lineage.behavior) / BEHAVIOR_VECTORS),
            np.zeros(0, np.int32) if text is None else TextVectors.load(folder(text) / TEXT_VECTORS).item_index,
        )

    @property
    def is_assigned(self) -> NDArray[np.bool_]:
        """Whether each row of ``codes`` was predicted from text, ``(M,)``."""
        return np.arange(len(self.codes.item_index)) >= len(self.code_set.item_index)

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Whether the item of each row of ``codes`` was added to the catalogue after the codebook fit, ``(M,)``."""
        return self.is_assigned & ~np.isin(self.codes.item_index, self.text_index)


def refit_state(workspace: Workspace, coded: Coded) -> dict[str, Any]:
    """Measure what changed since the codebook fit and the tuning, and which changes exceed their limits.

    Returns:
        ``is_due``, ``reasons`` (one sentence each) and ``drift``: one row per figure with ``name``, ``at_fit``,
        ``now``, ``limit`` (a refit is due when ``now`` is above it) and ``is_due``. A value is None where it cannot be
        measured. For external codes only the number of interactions is measured.
    """
    growth = workspace.settings.refit.interactions_growth
    counts = training_counts(workspace, coded.lineage.behavior, len(workspace.store.catalog()))
    at_fit, now = _interactions(workspace, coded, counts)
    drift = _code_drift(workspace, coded, counts) if coded.code_set.has_books else []
    drift.append(_row("train_interactions", at_fit, now, growth * at_fit))
    reasons = [_reason(row) for row in drift if row["is_due"]]
    return {"is_due": bool(reasons), "reasons": reasons, "drift": drift}


def growth_state(workspace: Workspace, at_fit: int, now: int) -> dict[str, Any]:
    """Return the same as ``refit_state`` for lists without codes: only the number of interactions is measured."""
    row = _row("train_interactions", at_fit, now, workspace.settings.refit.interactions_growth * at_fit)
    return {"is_due": row["is_due"], "reasons": [_reason(row)] if row["is_due"] else [], "drift": [row]}


def _code_drift(workspace: Workspace, coded: Coded, counts: NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return one row for each figure that a new codebook fit would improve."""
    limits = workspace.settings.refit
    everything = np.ones(len(coded.codes.item_index), bool)
    load_at_fit, load_now = (_fullest(coded.codes.codes[rows]) for rows in (~coded.is_new, everything))
    error_at_fit, error_now = _text_errors(workspace, coded)
    error_limit = None if error_at_fit is None else limits.text_error_growth * error_at_fit
    return [
        _row("outgrown_share", 0.0, float(_outgrown(coded, counts).mean()), limits.text_coded_share),
        _row("largest_first_code", load_at_fit, load_now, limits.largest_first_code_growth * load_at_fit),
        _row("text_error", error_at_fit, error_now, error_limit),
    ]


def _row(name: str, at_fit: float | None, now: float | None, limit: float | None) -> dict[str, Any]:
    is_due = now is not None and limit is not None and now > limit
    return {"name": name, "at_fit": at_fit, "now": now, "limit": limit, "is_due": is_due}


def _reason(row: dict[str, Any]) -> str:
    at_fit, now, limit = row["at_fit"], row["now"], row["limit"]
    return {
        "outgrown_share": f"{now:.1%} of the items have codes predicted from text, although a new fit would learn them from interactions;"
        f" the limit is {limit:.1%} (refit.text_coded_share)",
        "largest_first_code": f"the most common first code has {now:.1%} of the items; at the codebook fit it had {at_fit:.1%}"
        " (refit.largest_first_code_growth)",
        "text_error": f"the error of codes predicted from text is {now:.1%} for new items; for held-out items of the fit it was {at_fit:.1%} (refit.text_error_growth)",
        "train_interactions": f"there are {now:,} training interactions; at the fit there were {at_fit:,} (refit.interactions_growth)",
    }[row["name"]]


def _outgrown(coded: Coded, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether a new fit would learn each item's codes from a behaviour vector instead of text, ``(M,)``.

    If behaviour vectors come from a file, a new fit would learn the codes of every new item from them.
    """
    if coded.vectors.source == columns.GIVEN:
        return coded.is_new
    return coded.is_assigned & (counts[coded.codes.item_index] > 0)


def _fullest(codes: NDArray[np.uint16]) -> float:
    return float(np.bincount(codes[:, 0]).max() / len(codes)) if len(codes) else 0.0


def _text_errors(workspace: Workspace, coded: Coded) -> tuple[float | None, float | None]:
    """Return the errors of codes predicted from text: for held-out items of the codebook fit, and for new items."""
    at_fit = (coded.code_set.figures.get("text_map") or {}).get("nearest_code_error")
    is_new = coded.is_new[coded.is_assigned]
    if at_fit is None or is_new.sum() < MIN_NEW_ITEMS:
        return at_fit, None
    vectors = np.concatenate([_assigned_vectors(workspace, run) for run in coded.lineage.assigns])[is_new]
    settings = CodebookSettings(**coded.lineage.codebook.settings["codebook"])
    return at_fit, nearest_code_error(coded.code_set, vectors, settings)


def _assigned_vectors(workspace: Workspace, assign: RunRecord) -> Floats:
    """Return the vectors ``(n, D)`` that an assign run predicted from text, in the order of its codes."""
    path = workspace.intact(assign, table_file("item_embedding"))
    column = pq.read_table(path, columns=[columns.VECTOR]).column(columns.VECTOR).combine_chunks()
    flat: Floats = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return flat.reshape(len(column), -1)


def _interactions(workspace: Workspace, coded: Coded, counts: NDArray[np.int64]) -> tuple[int, int]:
    """Return the number of training interactions at the tuning and today; without a model, only of items with codes."""
    finetune = coded.lineage.find(columns.FINETUNE)
    if finetune is None:
        return int(coded.code_set.popularity.sum()), int(counts[coded.code_set.item_index].sum())
    figures, split = read_json(workspace.intact(finetune, FIGURES)), finetune.settings["split"]
    now = train_mask(workspace.events(split=split), split["train_cut"]).sum()
    return int(figures[TRAIN_INTERACTIONS]), int(now)
