"""Choose the interactions, items and texts that prompts can use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semconv.data.store import Sequences, without_future
from semconv.errors import InputError
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import Candidates, Rejected, TaskData
from semconv.tasks.history_tasks import HISTORY_TASKS
from semconv.tasks.text_tasks import TEXT_TASKS, TextSource


def task_data(
    train: Sequences,
    has_codes: NDArray[np.bool_],
    titles: Sequence[str | None],
    descriptions: Sequence[str | None],
    settings: TaskSettings,
    touched: Sequences | None = None,
    rejected: Rejected | None = None,
) -> TaskData:
    """Keep the interactions of items that have codes, and choose the candidates of each task with text.

    Args:
        train: the training part (``semconv.data.core.train_part``), with queries.
        has_codes: ``(I,)``.
        touched: training sequences that include items outside the k-core. None of a user's items in them becomes a
            negative. None means ``train``.
        rejected: items that users returned or disliked, with rows of ``train``; None for none.
    Raises:
        InputError: no task can ever have a sample; the message gives the reasons.
    """
    coded = train.select_rows(has_codes[train.items])
    low = settings.negative_rating_max
    is_label = np.ones(len(coded.items), dtype=bool) if low is None else ~(coded.ratings <= low)
    source = TextSource(coded, is_label, has_codes, titles, descriptions)
    data = TaskData(
        offsets=coded.offsets,
        items=coded.items,
        times=without_future(coded.times),
        is_label=is_label,
        touched=train if touched is None else touched,
        coded_items=np.flatnonzero(has_codes).astype(np.int32),
        num_items=len(has_codes),
        weights=coded.weights,
        rejected=_coded(Rejected.none() if rejected is None else rejected, has_codes, has_codes[train.items]),
        texts={
            task.name: task.candidates(source) if task.share(settings) else Candidates.none() for task in TEXT_TASKS
        },
    )
    _require_a_sample(data, settings)
    return data


def _coded(rejected: Rejected, has_codes: NDArray[np.bool_], kept: NDArray[np.bool_]) -> Rejected:
    """Return the rejected items that have codes, for sequences of which only the rows ``kept`` ``(n,)`` are left."""
    some = has_codes[rejected.items]
    return Rejected(rejected.users[some], rejected.rows[some], rejected.items[some]).among(kept)


def tasks_without_samples(data: TaskData, settings: TaskSettings) -> list[str]:
    """Return a message for each task with text that is switched on but has no samples."""
    return [
        f"the {task.name} task has no samples: {task.without_samples}"
        for task in TEXT_TASKS
        if task.share(settings) and not len(data.texts[task.name])
    ]


def _require_a_sample(data: TaskData, settings: TaskSettings) -> None:
    if any(len(candidates) for candidates in data.texts.values()):
        return
    if any(task.can_ask(data, settings) for task in HISTORY_TASKS):
        return
    if np.diff(data.offsets).max(initial=0) < 2:
        why, advice = "no training user has two items with codes", "lower split.k_core or ingest more interactions"
    elif settings.sequential:
        why, advice = "every next item is disliked and there are no negatives", "lower tasks.negative_rating_max"
    else:
        why, advice = "the sequential and the negative task are off", "switch on a task in the settings tasks.*"
    text = "there is no text" if any(task.share(settings) for task in TEXT_TASKS) else "the tasks with text are off"
    raise InputError(f"no task has a training sample: {why}, and {text}; {advice}")
