"""What an epoch trains on: every draw of wordings and negatives, as a pure function of (seed, epoch).

Resuming at an epoch draws exactly the same again, and exporting draws what training draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.config import TaskSettings
from semconv.errors import InputError
from semconv.store import Sequences
from semconv.tasks import wordings

_MAX_REDRAWS = 8


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


@dataclass(frozen=True)
class HistoryUnit:
    """One shared history with the samples that ask about it."""

    user: int
    head: int
    start: int  # first row of the trunk in TaskData.items
    length: int  # items of the trunk
    places: NDArray[np.int64]  # (P,) history length of each place, increasing
    sequential_tails: NDArray[np.int64]  # (P,) -1: no sequential sample at this place
    negative_tails: NDArray[np.int64]  # (P,) -1: no negative sample at this place
    negatives: NDArray[np.int32]  # (P, k) item_index, -1 where there are fewer


@dataclass(frozen=True)
class TextUnit:
    """One sample of the text or the query task."""

    task: str
    item: int
    user: int  # -1 for the text task
    row: int  # position in TaskData.query_rows, -1 for the text task
    wording: int


@dataclass(frozen=True)
class EpochPlan:
    """Everything one epoch trains on, before an order is drawn."""

    histories: list[HistoryUnit]
    texts: list[TextUnit]


def plan_epoch(data: TaskData, settings: TaskSettings, epoch: int, history_length: int) -> EpochPlan:
    """Draw an epoch."""
    rng = _generator(settings.seed, epoch, 0)
    histories = _history_units(data, settings, rng, history_length) if settings.sequential or settings.negatives else []
    words = _generator(settings.seed, epoch, 1)
    text_words = words.integers(len(wordings.TEXT_WORDINGS), size=len(data.text_items))
    query_words = words.integers(len(wordings.QUERY_WORDINGS), size=len(data.query_rows))
    users = np.searchsorted(data.offsets, data.query_rows, side="right") - 1
    texts = [
        TextUnit("text", int(item), -1, -1, int(word)) for item, word in zip(data.text_items, text_words, strict=True)
    ]
    texts += [
        TextUnit("query", int(data.items[row]), int(user), place, int(word))
        for place, (row, user, word) in enumerate(zip(data.query_rows, users, query_words, strict=True))
    ]
    return EpochPlan(histories, texts)


def _history_units(
    data: TaskData, settings: TaskSettings, rng: np.random.Generator, history_length: int
) -> list[HistoryUnit]:
    lengths = np.diff(data.offsets)
    num_users, num_rows = len(lengths), len(data.items)
    heads = rng.integers(len(wordings.HISTORY_HEADS), size=num_users)
    sequential = rng.integers(len(wordings.SEQUENTIAL_TAILS), size=num_rows)
    negative = rng.integers(len(wordings.NEGATIVE_TAILS), size=num_rows)
    asks_negative = rng.random(num_users) < settings.negative_share
    takes_late = rng.random(num_rows) < settings.late_share
    negatives = _draw_negatives(data, settings, rng)  # (n, k)
    sequential[~data.is_label | (not settings.sequential)] = -1
    negative[(negatives < 0).all(axis=1) | ~np.repeat(asks_negative, lengths)] = -1
    asked = (sequential >= 0) | (negative >= 0)
    units = []
    for user in np.flatnonzero(lengths >= 2):
        first, length = int(data.offsets[user]), int(lengths[user])
        places = np.arange(1, min(length, history_length + 1))
        rows = first + places
        shared = places[asked[rows]]
        if len(shared):
            units.append(
                _unit(int(user), int(heads[user]), first, shared, first + shared, sequential, negative, negatives)
            )
        for place in range(history_length + 1, length):
            row = first + place
            if takes_late[row] and asked[row]:
                window = np.array([history_length])
                units.append(
                    _unit(
                        int(user),
                        int(heads[user]),
                        row - history_length,
                        window,
                        np.array([row]),
                        sequential,
                        negative,
                        negatives,
                    )
                )
    return units


def _unit(
    user: int,
    head: int,
    start: int,
    places: NDArray[np.int64],
    rows: NDArray[np.int64],
    sequential: NDArray[np.int64],
    negative: NDArray[np.int64],
    negatives: NDArray[np.int32],
) -> HistoryUnit:
    return HistoryUnit(user, head, start, int(places[-1]), places, sequential[rows], negative[rows], negatives[rows])


def _draw_negatives(data: TaskData, settings: TaskSettings, rng: np.random.Generator) -> NDArray[np.int32]:
    """``(n, k)`` items for each row: disliked ones that are still to come first, then uniform over untouched items."""
    num_rows, k = len(data.items), settings.negatives
    if k == 0 or num_rows == 0:
        return np.full((num_rows, 1), -1, dtype=np.int32)
    num_items = len(data.titles)
    user_of_row = np.repeat(np.arange(len(data.offsets) - 1, dtype=np.int64), np.diff(data.offsets))
    touched_user = np.repeat(np.arange(len(data.touched), dtype=np.int64), data.touched.lengths)
    touched = np.unique(touched_user * num_items + data.touched.items)
    drawn = rng.choice(data.candidates, size=num_rows * k)  # (n * k,)
    user = np.repeat(user_of_row, k)
    wrong = np.arange(len(drawn))
    for _ in range(_MAX_REDRAWS):
        keys = user[wrong] * num_items + drawn[wrong]
        wrong = wrong[touched[np.minimum(np.searchsorted(touched, keys), len(touched) - 1)] == keys]
        if not len(wrong):
            break
        drawn[wrong] = rng.choice(data.candidates, size=len(wrong))
    for one in np.unique(user[wrong]):  # users who touched nearly everything: from what is left, if anything is
        places = wrong[user[wrong] == one]
        left = np.setdiff1d(data.candidates, data.touched.of(int(one)))
        drawn[places] = rng.choice(left, size=len(places)) if len(left) else -1
    table = drawn.reshape(num_rows, k)
    _put_disliked_first(data, table)
    return table.astype(np.int32)


def _put_disliked_first(data: TaskData, drawn: NDArray[np.int32]) -> None:
    """Replace the first columns by the user's disliked items at or after the row, nearest first."""
    for row in np.flatnonzero(~data.is_label):
        user = int(np.searchsorted(data.offsets, row, side="right")) - 1
        for earlier in range(int(row), int(data.offsets[user]) - 1, -1):
            if earlier != row and not data.is_label[earlier]:
                break  # that one has its own list from here on
            ahead = np.flatnonzero(~data.is_label[earlier : data.offsets[user + 1]])[: drawn.shape[1]] + earlier
            drawn[earlier, : len(ahead)] = data.items[ahead]


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, epoch * 16 + stream]))
