"""What the tasks are made of: training sequences of items that have codes, and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.config import TaskSettings
from semconv.errors import InputError
from semconv.store import Sequences


@dataclass(frozen=True)
class TaskData:
    """What the tasks are made of: training sequences of items that have codes, and text."""

    offsets: NDArray[np.int64]  # (U + 1,) rows of each user
    items: NDArray[np.int32]  # (n,) item_index, all with codes
    is_label: NDArray[np.bool_]  # (n,) False where the rating says dislike
    touched: Sequences  # whole training sequences, items without codes too: no negative is among them
    candidates: NDArray[np.int32]  # items with codes
    text_items: NDArray[np.int32]  # items with codes and text
    titles: Sequence[str | None]  # (I,)
    descriptions: Sequence[str | None]  # (I,)
    query_rows: NDArray[np.int64]  # rows of ``items`` with a query
    queries: Sequence[str]  # as long as query_rows


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
        train: the training part (``semconv.splits.train_part``), with queries.
        has_codes: ``(I,)``.
        touched: the train cut with the items outside the core, which are nobody's negatives either; None: ``train``.
    Raises:
        InputError: no user has two items with codes and no other task has a sample.
    """
    coded = train.select_rows(has_codes[train.items])
    low = settings.negative_rating_max
    is_label = np.ones(len(coded.items), dtype=bool) if low is None else ~(coded.ratings <= low)
    with_text = np.array(
        [bool((t or "").strip() or (d or "").strip()) for t, d in zip(titles, descriptions, strict=True)], dtype=bool
    )
    queries = coded.queries or []
    query_rows = np.array(
        [row for row, text in enumerate(queries) if text and text.strip() and is_label[row]], dtype=np.int64
    )
    data = TaskData(
        offsets=coded.offsets,
        items=coded.items,
        is_label=is_label,
        touched=train if touched is None else touched,
        candidates=np.flatnonzero(has_codes).astype(np.int32),
        text_items=np.flatnonzero(has_codes & with_text).astype(np.int32) if settings.text else np.zeros(0, np.int32),
        titles=titles,
        descriptions=descriptions,
        query_rows=query_rows if settings.query else np.zeros(0, np.int64),
        queries=[queries[row] or "" for row in query_rows],
    )
    longest = int(np.diff(coded.offsets).max(initial=0))
    if (
        (longest < 2 or not (settings.sequential or settings.negatives))
        and not len(data.text_items)
        and not len(data.query_rows)
    ):
        raise InputError(
            "no task has a sample: no training user has two items with codes, and there is no text; lower split.k_core or ingest more"
        )
    return data
