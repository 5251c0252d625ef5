"""Incremental tuning: record the samples of a tuning, and find the samples that are new in a later tuning.

An interaction is identified by user, item and time. Several interactions can be equal in user, item and time, for
example where no times are known. If the record has n equal interactions, the first n of them in the later sequence
count as old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import Ints, row_of
from semconv.tasks.data import Bools, Candidates, Replay, TaskData
from semconv.tasks.text_tasks import TEXT_TASKS, TextTask


@dataclass(frozen=True)
class TunedOn:
    """The record of a tuning: the n interactions and the texts from which its samples were drawn."""

    offsets: Ints  # (U + 1,) rows of each user
    items: NDArray[np.int32]  # (n,) item_index
    times: Ints  # (n,) microseconds since 1970, the minimum int64 where unknown
    texts: Mapping[str, NDArray[Any]]  # by record name: item_index of the samples, or (n,) True for rows with a sample

    @classmethod
    def of(cls, data: TaskData) -> TunedOn:
        """Make the record of a tuning on ``data``."""
        texts = {task.record_name: _record(task, data) for task in TEXT_TASKS}
        return cls(data.offsets, data.items, data.times, texts)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TunedOn:
        """Read a record from named arrays."""
        texts = {task.record_name: arrays[task.record_name] for task in TEXT_TASKS}
        return cls(arrays["offsets"], arrays["items"], arrays["times"], texts)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the record as named arrays."""
        return {"offsets": self.offsets, "items": self.items, "times": self.times, **self.texts}


def replay_since(before: TunedOn, data: TaskData, share: float, epochs_before: int) -> Replay:
    """Find the samples of ``data`` that the earlier tuning ``before`` did not have.

    The same user index or item index must mean the same user or item in ``before`` and in ``data``.
    """
    row_before = _match_rows(before, data)  # (n,)
    is_new_text = tuple(_is_new(task, before, data.texts[task.name], row_before) for task in TEXT_TASKS)
    return Replay(row_before < 0, is_new_text, share, epochs_before)


def count_new(data: TaskData) -> dict[str, int]:
    """Count the new samples: new positions for tasks with a history, and new samples of each task with text.

    A user's first item has no history before it, so no task has a sample there and the item is not counted.
    """
    assert data.replay is not None
    positions = int((data.replay.is_new_row & (data.positions() >= 1)).sum())
    texts = zip(TEXT_TASKS, data.replay.is_new_text, strict=True)
    return {"positions": positions, **{task.plural: int(is_new.sum()) for task, is_new in texts}}


def _record(task: TextTask, data: TaskData) -> NDArray[Any]:
    """Return the array that records the samples of a task in ``TunedOn.texts``."""
    candidates = data.texts[task.name]
    if not task.is_from_interactions:
        return candidates.items
    has_sample = np.zeros(len(data.items), dtype=bool)
    has_sample[candidates.rows] = True
    return has_sample


def _is_new(task: TextTask, before: TunedOn, candidates: Candidates, row_before: Ints) -> Bools:
    """Return a mask of the candidates of a task that the record ``before`` does not contain."""
    record = before.texts[task.record_name]
    if not task.is_from_interactions:
        return ~np.isin(candidates.items, record)
    row = row_before[candidates.rows]
    is_known = row >= 0
    is_known[is_known] = record[row[is_known]]
    return ~is_known


def _match_rows(before: TunedOn, data: TaskData) -> Ints:
    """Return for each row of ``data`` the row of this interaction in ``before``, ``(n,)``, -1 if there is none."""
    num_before = len(before.items)
    found = np.full(len(data.items), -1, dtype=np.int64)
    if num_before == 0 or len(found) == 0:
        return found
    keys = (
        np.concatenate([before.times, data.times]),
        np.concatenate([before.items, data.items]),
        np.concatenate([row_of(np.diff(before.offsets)), data.users()]),
    )
    is_from_data = np.arange(num_before + len(found)) >= num_before
    order = np.lexsort((is_from_data, *keys))  # equal interactions side by side, rows of ``before`` first
    differs = [key[order][1:] != key[order][:-1] for key in keys]
    begin = np.flatnonzero(np.concatenate([[True], np.logical_or.reduce(differs)]))  # (G,) start of each equal group
    sizes = np.diff(np.append(begin, len(order)))
    num_known = np.add.reduceat(~is_from_data[order], begin, dtype=np.int64)  # (G,)
    number = np.arange(len(order)) - np.repeat(begin + num_known, sizes)  # of a row among equal rows of ``data``
    is_known = (number >= 0) & (number < np.repeat(num_known, sizes))
    found[order[is_known] - num_before] = order[(np.repeat(begin, sizes) + number)[is_known]]
    return found
