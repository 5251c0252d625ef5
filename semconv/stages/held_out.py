"""The held-out items of today, without those that the runs of a model were trained on.

Held-out items are those of today. The vectors, counts and models of a lineage may come from earlier data or other settings.
New interactions at the end of a sequence usually move the held-out item further away from them. But a held-out item may
have been trained on if

- the user had fewer than three interactions, which all are for training;
- an event that training leaves out today, because it gives the held-out item away, was an interaction of its own before: a
  view of an item that is bought later;
- later events, such as returns, make an earlier item the last one;
- a corrected date moves an earlier item to the end;
- the cut in time moves back, because older interactions came in or the setting changed.

So the stages that learn from interactions record them (``record_trained``), and a user is left out if the record has the
held-out item more often than today's data before the held-out event. This data is the history or the part for training: a
purchase that was returned is no longer in the history, but it still trains if the return came after the train cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import read_arrays, write_arrays
from semconv.columns import Split, TrainCut
from semconv.data.splits import history_mask, target_rows, train_mask
from semconv.data.store import UNKNOWN_TIME, RunRecord, Sequences
from semconv.data.time_cuts import written_moment
from semconv.errors import InputError
from semconv.ragged import row_of
from semconv.runs.files import TRAINED_ON, TUNED_ON
from semconv.runs.workspace import Workspace
from semconv.stages.agreement import train_cut_of

# The file with the interactions that a run of each stage learned from. Runs of earlier versions may lack it.
_RECORDS: Final[Mapping[str, str]] = {
    columns.EMBED_BEHAVIOR: TRAINED_ON,
    columns.BLEND: TRAINED_ON,
    columns.FINETUNE: TUNED_ON,
}


def record_trained(folder: Path, train: Sequences) -> None:
    """Write the interactions that a run learns from into its folder."""
    write_arrays(folder / TRAINED_ON, {"offsets": train.offsets, "items": train.items, "times": train.times})


def held_out_items(
    workspace: Workspace, runs: Iterable[RunRecord], sequences: Sequences, split: Split
) -> tuple[NDArray[np.int32], int]:
    """Return the held-out item of each user ``(U,)``, -1 for none, and the number of users who are left out.

    Left out are users on whose held-out item a run was trained.

    Args:
        runs: of the lineage that is evaluated, or that a training starts from.
        sequences: the sequences of today, under the split of the lineage.

    Raises:
        InputError: the cut in time lies before the end of the training.
    """
    rows = target_rows(sequences, split)
    has = rows >= 0
    items = np.full(len(rows), -1, dtype=np.int32)
    items[has] = sequences.items[rows[has]]
    in_history = _count(sequences, items, history_mask(sequences, split))
    in_training: dict[TrainCut, NDArray[np.int64]] = {}  # the runs of a lineage have the same train cut, as a rule
    known = np.zeros(len(rows), dtype=bool)
    for run, record in _records(workspace, runs):
        if (why := _past_cut(run, record, sequences, split)) is not None:
            raise InputError(f"{why}, so figures would be too high; train again with `semconv run --refit`")
        cut = train_cut_of(run)
        if cut not in in_training:
            in_training[cut] = _count(sequences, items, train_mask(sequences, cut))
        users = row_of(np.diff(record["offsets"]))  # users keep their user_index, so a record has no further users
        trained = np.bincount(users[record["items"] == items[users]], minlength=len(rows))
        known |= trained > np.maximum(in_history, in_training[cut])
    items[known] = -1
    return items, int((known & has).sum())


def why_past_cut(workspace: Workspace, runs: Iterable[RunRecord], sequences: Sequences, split: Split) -> str | None:
    """Return why the cut in time of a split lies before the end of the training of some runs; None if it does not."""
    if sequences.cuts is None:
        return None
    reasons = (_past_cut(run, record, sequences, split) for run, record in _records(workspace, runs))
    return next((why for why in reasons if why is not None), None)


def _records(workspace: Workspace, runs: Iterable[RunRecord]) -> Iterator[tuple[RunRecord, Mapping[str, NDArray[Any]]]]:
    """Yield the runs that recorded the interactions that they learned from, each with its record."""
    for run in runs:
        name = _RECORDS.get(run.stage)
        if name is not None and (workspace.book.folder(run) / name).exists():
            yield run, read_arrays(workspace.intact(run, name))


def _past_cut(run: RunRecord, record: Mapping[str, NDArray[Any]], sequences: Sequences, split: Split) -> str | None:
    cut = None if sequences.cuts is None else sequences.cuts.of_history(split)
    newest = int(record["times"].max(initial=UNKNOWN_TIME))
    if cut is None or newest < cut:
        return None
    return (
        f"the split {split} begins at {written_moment(cut)}, and {run.run_id} was trained on interactions up to"
        f" {written_moment(newest)}: older interactions came in, or split.temporal_at changed"
    )


def _count(sequences: Sequences, items: NDArray[np.int32], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return in how many rows of the mask ``(n,)`` each user has the given item ``(U,)``, ``(U,)``."""
    users = row_of(sequences.lengths)
    return np.bincount(users[mask & (sequences.items == items[users])], minlength=len(items))
