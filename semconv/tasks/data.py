"""What the tasks are made of: training sequences of items that have codes, and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.data.store import Sequences
from semconv.errors import InputError
from semconv.ragged import position_of
from semconv.settings.tasks import TaskSettings
from semconv.tasks.replay import Replay


@dataclass(frozen=True)
class TaskData:
    """What the tasks are made of: training sequences of items that have codes, and text."""

    offsets: NDArray[np.int64]  # (U + 1,) rows of each user
    items: NDArray[np.int32]  # (n,) item_index, all with codes
    times: NDArray[np.int64]  # (n,) microseconds since 1970, the minimum int64 where unknown
    is_label: NDArray[np.bool_]  # (n,) False where the rating says dislike
    touched: Sequences  # whole training sequences, items without codes too: no negative is among them
    candidates: NDArray[np.int32]  # items with codes
    text_items: NDArray[np.int32]  # items with codes and text
    titles: Sequence[str | None]  # (I,)
    descriptions: Sequence[str | None]  # (I,)
    query_rows: NDArray[np.int64]  # rows of ``items`` with a query
    queries: Sequence[str]  # as long as query_rows
    replay: Replay | None = None  # None: an epoch may ask about everything


def task_data(
    train: Sequences,
    has_codes: NDArray[np.bool_],
    titles: Sequence[str | None],
    descriptions: Sequence[str | None],
    settings: TaskSettings,
    touched: Sequences | None = None,
) -> TaskData:
    """Keep what prompts can name.

    Args:
        train: the training part (``semconv.data.splits.train_part``), with queries.
        has_codes: ``(I,)``.
        touched: the train cut with the items outside the core, which are nobody's negatives either; None: ``train``.
    Raises:
        InputError: no task can ever have a sample; the message says why of each.
    """
    coded = train.select_rows(has_codes[train.items])
    low = settings.negative_rating_max
    is_label = np.ones(len(coded.items), dtype=bool) if low is None else ~(coded.ratings <= low)
    has_text = np.array(
        [bool((t or "").strip() or (d or "").strip()) for t, d in zip(titles, descriptions, strict=True)], dtype=bool
    )
    queries = (coded.queries or []) if settings.query and settings.query_share else []
    query_rows = [row for row, text in enumerate(queries) if text and text.strip() and is_label[row]]
    text_items = np.flatnonzero(has_codes & has_text & bool(settings.text and settings.text_share))
    data = TaskData(
        offsets=coded.offsets,
        items=coded.items,
        times=coded.times,
        is_label=is_label,
        touched=train if touched is None else touched,
        candidates=np.flatnonzero(has_codes).astype(np.int32),
        text_items=text_items.astype(np.int32),
        titles=titles,
        descriptions=descriptions,
        query_rows=np.array(query_rows, dtype=np.int64),
        queries=[queries[row] or "" for row in query_rows],
    )
    _require_a_sample(data, settings)
    return data


def _require_a_sample(data: TaskData, settings: TaskSettings) -> None:
    if len(data.text_items) or len(data.query_rows):
        return
    lengths = np.diff(data.offsets)
    position = position_of(lengths)
    asks_negative = settings.negatives > 0 and settings.negative_share > 0
    if (lengths.max(initial=0) >= 2 and asks_negative) or (settings.sequential and data.is_label[position >= 1].any()):
        return
    if lengths.max(initial=0) < 2:
        why, way = "no training user has two items with codes", "lower split.k_core or ingest more"
    elif settings.sequential:
        why, way = "every next item is disliked and there are no negatives", "lower tasks.negative_rating_max"
    else:
        why, way = "the sequential and the negative task are off", "turn one of tasks.* on"
    text = "there is no text" if settings.text or settings.query else "the tasks with text are off"
    raise InputError(f"no task has a sample: {why}, and {text}; {way}")
