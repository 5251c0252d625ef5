"""The held-out items of an evaluation, without those that the evaluated runs may have been trained on.

Held-out items are those of today. The vectors, counts and models of a lineage may come from earlier data. New interactions at
the end of a sequence only move the held-out item further away from them. But a held-out item may have been trained on if

- an event that training leaves out today, because it gives the held-out item away, was an interaction of its own before: a
  view of an item that is bought later;
- later events, such as returns, make an earlier item the last one;
- older interactions that came in later move a cut in time back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import read_json
from semconv.columns import Split
from semconv.data.interactions import HeldOut, event_weights
from semconv.data.splits import target_rows
from semconv.data.store import Sequences
from semconv.data.time_cuts import written_moment
from semconv.errors import InputError
from semconv.ragged import row_of
from semconv.runs.digests import read_complete
from semconv.runs.files import FIGURES
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.embed.behavior import TRAINED_UNTIL

_TRAINED = (columns.EMBED_BEHAVIOR, columns.FINETUNE, columns.BLEND)


def held_out_items(
    workspace: Workspace, lineage: Lineage, sequences: Sequences, split: Split
) -> tuple[NDArray[np.int32], int]:
    """Return the held-out item of each user ``(U,)``, -1 for none, and the number of users who are left out.

    Left out are users whose held-out item the runs of a lineage may have been trained on.

    Args:
        sequences: the sequences of today, under the split of the lineage.

    Raises:
        InputError: the cut in time lies before the end of the training.
    """
    rows = target_rows(sequences, split)
    has = rows >= 0
    items = np.full(len(rows), -1, dtype=np.int32)
    items[has] = sequences.items[rows[has]]
    if not _has_changed(workspace, lineage):
        return items, 0
    if (why := why_past_cut(workspace, lineage, sequences, split)) is not None:
        raise InputError(
            f"{why}, so figures would be too high; train again with `semconv run --refit`, or give split.temporal_at as a date"
        )
    known = has & _may_be_known(sequences, rows)
    items[known] = -1
    return items, int(known.sum())


def _has_changed(workspace: Workspace, lineage: Lineage) -> bool:
    """Return whether the interactions changed since a run of a lineage was trained on them."""
    today = workspace.store.content_hash("interaction")
    read = (read_complete(workspace.book.folder(run)) for run in lineage.runs if run.stage in _TRAINED)
    return any(content.get("content", {}).get("interaction", today) != today for content in read)


def _may_be_known(sequences: Sequences, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for which users earlier data may have had the held-out event's item in training, ``(U,)``."""
    if sequences.rules is None:
        return np.zeros(len(rows), dtype=bool)
    users, events = row_of(sequences.lengths), np.arange(len(sequences.items))
    gives_away = HeldOut(rows).on_same_item(sequences) & (events < rows[users])
    is_return = (event_weights(sequences) < 0) & (events > rows[users])
    return np.bincount(users[gives_away | is_return], minlength=len(rows)) > 0


def why_past_cut(workspace: Workspace, lineage: Lineage, sequences: Sequences, split: Split) -> str | None:
    """Return why the cut in time of a split lies before the end of the training of a lineage; None if it does not."""
    cut = None if sequences.cuts is None else sequences.cuts.of_history(split)
    vectors = lineage.find(columns.EMBED_BEHAVIOR)
    if cut is None or vectors is None or not (workspace.book.folder(vectors) / FIGURES).exists():
        return None
    figures: dict[str, Any] = read_json(workspace.intact(vectors, FIGURES))
    until = figures.get(TRAINED_UNTIL)  # None in runs of earlier versions
    if until is None or until <= cut:
        return None
    return (
        f"older interactions came in: the split {split} begins at {written_moment(cut)} now, and {vectors.run_id} was"
        f" trained on interactions before {written_moment(until)}"
    )
