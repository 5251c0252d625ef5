"""Whether embedding, codes and tuning are due to be done again: what has changed since they were made.

Each figure is held against itself at the fit, like against like, so that right after a refit nothing is due:
new items' text vectors against those that the fit held out, the fullest code against itself. Items coded
from text count once a fit would learn their vector. Items that the fit knew but had no interactions of are no drift.
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
from semconv.behavior.vectors import FILE_NAME as VECTORS
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.splits import cut_in_time, train_lengths, train_part
from semconv.data.store import RunRecord, Sequences
from semconv.runs.workspace import Context, ItemCodes
from semconv.settings.codebook import CodebookSettings
from semconv.stages.tune.start import FIGURES_FILE
from semconv.stages.tune.tuning import TRAIN_INTERACTIONS
from semconv.tokenization.code_set import CodeSet
from semconv.tokenization.figures import nearest_code_error

MIN_NEW_ITEMS = 20  # fewer new items' distance from the books is chance

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Coded:
    """A code set and everything that has its codes."""

    run: RunRecord
    code_set: CodeSet
    assigns: tuple[RunRecord, ...]
    codes: ItemCodes  # of the fit first, then of each assign run
    vectors: BehaviorVectors
    text_index: NDArray[np.int32]  # items with text that the catalogue had at the fit

    @classmethod
    def read(cls, context: Context, codebook: RunRecord) -> Coded:
        """Load what a codebook run and its assign runs left."""
        folder = context.book.folder
        assigns = context.assigns_of(codebook)
        text = context.find_input(codebook, columns.EMBED_TEXT)  # codes made elsewhere read none
        return cls(
            codebook,
            CodeSet.load(folder(codebook)),
            assigns,
            ItemCodes.read(context, (codebook, *assigns)),
            BehaviorVectors.load(folder(context.input_of(codebook, columns.EMBED_BEHAVIOR)) / VECTORS),
            np.zeros(0, np.int32) if text is None else TextVectors.load(folder(text) / "text.safetensors").item_index,
        )

    @property
    def is_assigned(self) -> NDArray[np.bool_]:
        """``(M,)`` rows of ``codes`` that have theirs from text alone."""
        return np.arange(len(self.codes.item_index)) >= len(self.code_set.item_index)

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """``(M,)`` rows of ``codes`` that came into the catalogue after the fit."""
        return self.is_assigned & ~np.isin(self.codes.item_index, self.text_index)


def refit_state(context: Context, coded: Coded, finetune: RunRecord | None) -> dict[str, Any]:
    """What has changed since the fit and, for the interactions, since the tuning, and which limits it passes.

    Returns:
        ``is_due``, ``reasons`` (a sentence each) and ``drift``: a row a figure with ``name``, ``at_fit``, ``now``,
        ``limit`` (the value of ``now`` above which a refit is due) and ``is_due``; None where there is nothing to
        measure. Of codes made elsewhere the interactions alone.
    """
    growth, sequences = context.settings.refit.interactions_growth, context.store.sequences()
    counts = _train_counts(context, coded.run, sequences)
    at_fit, now = _interactions(context, coded.code_set, finetune, (sequences, counts))
    drift = _code_drift(context, coded, counts) if coded.code_set.has_books else []
    drift.append(_row("train_interactions", at_fit, now, growth * at_fit))
    reasons = [_reason(row) for row in drift if row["is_due"]]
    return {"is_due": bool(reasons), "reasons": reasons, "drift": drift}


def _code_drift(context: Context, coded: Coded, counts: NDArray[np.int64]) -> list[dict[str, Any]]:
    """What a new fit of the codes would mend; codes made elsewhere stay what they are."""
    limits = context.settings.refit
    everything = np.ones(len(coded.codes.item_index), bool)
    load_at_fit, load_now = (_fullest(coded.codes.codes[rows]) for rows in (~coded.is_new, everything))
    error_at_fit, error_now = _text_errors(context, coded)
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
        "outgrown_share": f"{now:.1%} of the items have codes from their text though a fit would learn theirs from"
        f" interactions now, more than {limit:.1%} (refit.text_coded_share)",
        "largest_first_code": f"the fullest first code holds {now:.1%} of the items, {at_fit:.1%} at the fit"
        " (refit.largest_first_code_growth)",
        "text_error": f"new items' text lies {now:.1%} from its codes, {at_fit:.1%} at the fit (refit.text_error_growth)",
        "train_interactions": f"there are {now:,} interactions to train on, {at_fit:,} at the fit (refit.interactions_growth)",
    }[row["name"]]


def _outgrown(coded: Coded, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``(M,)`` items coded from text that a fit would have a behaviour vector of now; given vectors come for any new item."""
    if coded.vectors.source == columns.GIVEN:
        return coded.is_new
    return coded.is_assigned & (counts[coded.codes.item_index] > 0)


def _fullest(codes: NDArray[np.uint16]) -> float:
    return float(np.bincount(codes[:, 0]).max() / len(codes)) if len(codes) else 0.0


def _text_errors(context: Context, coded: Coded) -> tuple[float | None, float | None]:
    """How far vectors made of text lie from their nearest codes: those of items held out at the fit, and of new items."""
    at_fit = (coded.code_set.figures.get("text_map") or {}).get("nearest_code_error")
    is_new = coded.is_new[coded.is_assigned]
    if at_fit is None or is_new.sum() < MIN_NEW_ITEMS:
        return at_fit, None
    vectors = np.concatenate([_assigned_vectors(context, run) for run in coded.assigns])[is_new]
    settings = CodebookSettings(**coded.run.settings["codebook"])
    return at_fit, nearest_code_error(coded.code_set, vectors, settings)


def _assigned_vectors(context: Context, assign: RunRecord) -> Floats:
    """Vectors ``(n, D)`` that were mapped from text, in the order of the run's codes."""
    path = context.intact(assign, "table-item_embedding.parquet")
    column = pq.read_table(path, columns=[columns.VECTOR]).column(columns.VECTOR).combine_chunks()
    flat: Floats = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return flat.reshape(len(column), -1)


def _train_counts(context: Context, codebook: RunRecord, sequences: Sequences) -> NDArray[np.int64]:
    """``(I,)`` interactions of the train cut and core that the vectors were made with, in the data of now."""
    split = context.input_of(codebook, columns.EMBED_BEHAVIOR).settings["split"]
    num_items = len(context.store.catalog())
    train = train_part(cut_in_time(sequences, split), split["train_cut"], split["k_core"], num_items)
    return np.bincount(train.items, minlength=num_items).astype(np.int64)


def _interactions(
    context: Context, code_set: CodeSet, finetune: RunRecord | None, data: tuple[Sequences, NDArray[np.int64]]
) -> tuple[int, int]:
    """Interactions of the train cut that the model was tuned on, and those of now; without a model the fit's own items'."""
    sequences, counts = data
    figures = {} if finetune is None else read_json(context.intact(finetune, FIGURES_FILE))
    if finetune is None or TRAIN_INTERACTIONS not in figures:
        return int(code_set.popularity.sum()), int(counts[code_set.item_index].sum())
    split = finetune.settings["split"]
    now = train_lengths(cut_in_time(sequences, split), split["train_cut"]).sum()
    return int(figures[TRAIN_INTERACTIONS]), int(now)
