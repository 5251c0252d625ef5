"""What an epoch trains on: every draw of wordings and negatives, as a pure function of (seed, epoch).

Resuming at an epoch draws exactly the same again, and exporting draws what training draws. A plan is flat arrays;
one history or one text at a time is a view of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import position_of, row_of
from semconv.settings.tasks import TaskSettings
from semconv.tasks import wordings
from semconv.tasks.data import TaskData
from semconv.tasks.negatives import draw_negatives


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
class HistoryPlan:
    """The shared histories of an epoch, H of them with P places in all; iterating gives one unit each."""

    user: NDArray[np.int64]  # (H,)
    head: NDArray[np.int64]  # (H,)
    start: NDArray[np.int64]  # (H,) first row of the trunk in TaskData.items
    offsets: NDArray[np.int64]  # (H + 1,) places of each history
    place: NDArray[np.int64]  # (P,) history length of each place
    sequential_tail: NDArray[np.int64]  # (P,) -1: no sequential sample at this place
    negative_tail: NDArray[np.int64]  # (P,) -1: no negative sample at this place
    negatives: NDArray[np.int32]  # (P, k) item_index, -1 where there are fewer

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, one: int) -> HistoryUnit:
        if not 0 <= one < len(self):
            raise IndexError(one)
        at = slice(int(self.offsets[one]), int(self.offsets[one + 1]))
        return HistoryUnit(
            int(self.user[one]),
            int(self.head[one]),
            int(self.start[one]),
            int(self.place[at.stop - 1]),
            self.place[at],
            self.sequential_tail[at],
            self.negative_tail[at],
            self.negatives[at],
        )

    def __iter__(self) -> Iterator[HistoryUnit]:
        return (self[one] for one in range(len(self)))


@dataclass(frozen=True)
class TextUnit:
    """One sample of the text or the query task."""

    task: str
    item: int
    user: int  # -1 for the text task
    row: int  # position in TaskData.query_rows, -1 for the text task
    wording: int


@dataclass(frozen=True)
class TextPlan:
    """The n samples of the text and the query task of an epoch; iterating gives one unit each."""

    item: NDArray[np.int32]  # (n,)
    user: NDArray[np.int64]  # (n,) -1 for the text task
    row: NDArray[np.int64]  # (n,) position in TaskData.query_rows, -1 for the text task
    wording: NDArray[np.int64]  # (n,)

    def __len__(self) -> int:
        return len(self.item)

    def select(self, which: Any) -> TextPlan:
        """Some of the samples, by a slice or an array of indices."""
        return TextPlan(self.item[which], self.user[which], self.row[which], self.wording[which])

    def __iter__(self) -> Iterator[TextUnit]:
        columns = (self.item.tolist(), self.user.tolist(), self.row.tolist(), self.wording.tolist())
        for item, user, row, wording in zip(*columns, strict=True):
            yield TextUnit("text" if row < 0 else "query", item, user, row, wording)


@dataclass(frozen=True)
class EpochPlan:
    """Everything one epoch trains on, before an order is drawn."""

    histories: HistoryPlan
    texts: TextPlan


def plan_epoch(data: TaskData, settings: TaskSettings, epoch: int, history_length: int) -> EpochPlan:
    """Draw an epoch; with ``data.replay`` what is new of it and a share of the rest."""
    if data.replay is not None:
        epoch += data.replay.epochs_before
    histories = _plan_histories(data, settings, epoch, history_length)
    return EpochPlan(histories, _plan_texts(data, settings, epoch))


def _plan_texts(data: TaskData, settings: TaskSettings, epoch: int) -> TextPlan:
    words, shares = _generator(settings.seed, epoch, 1), _generator(settings.seed, epoch, 2)
    num_texts, num_queries = len(data.text_items), len(data.query_rows)
    wording = np.concatenate(
        [
            words.integers(len(wordings.TEXT_WORDINGS), size=num_texts),
            words.integers(len(wordings.QUERY_WORDINGS), size=num_queries),
        ]
    )
    users = np.searchsorted(data.offsets, data.query_rows, side="right") - 1
    none = np.full(num_texts, -1, dtype=np.int64)
    plan = TextPlan(
        np.concatenate([data.text_items, data.items[data.query_rows]]),
        np.concatenate([none, users]),
        np.concatenate([none, np.arange(num_queries)]),
        wording,
    )
    share = np.repeat([settings.text_share, settings.query_share], [num_texts, num_queries])
    is_drawn = shares.random(len(plan)) < share
    if data.replay is not None:
        is_drawn &= data.replay.drawn_texts(_generator(settings.seed, epoch, 4))
    return plan.select(is_drawn)


def _plan_histories(data: TaskData, settings: TaskSettings, epoch: int, history_length: int) -> HistoryPlan:
    rng = _generator(settings.seed, epoch, 0)
    lengths = np.diff(data.offsets)
    num_users, num_rows = len(lengths), len(data.items)
    heads = rng.integers(len(wordings.HISTORY_HEADS), size=num_users)
    sequential = rng.integers(len(wordings.SEQUENTIAL_TAILS), size=num_rows)
    negative = rng.integers(len(wordings.NEGATIVE_TAILS), size=num_rows)
    asks_negative = rng.random(num_users) < settings.negative_share
    takes_late = rng.random(num_rows) < settings.late_position_share
    negatives = draw_negatives(data, settings.negatives, rng)  # (n, k)
    user = row_of(lengths)  # (n,)
    sequential[~data.is_label | (not settings.sequential)] = -1
    negative[(negatives < 0).all(axis=1) | ~asks_negative[user]] = -1
    place = position_of(lengths)
    is_late = place > history_length  # a history that is cut is nobody else's prefix: a window of its own
    is_latest = place == np.minimum(lengths - 1, history_length)[user]
    position_share = 1.0 if settings.position_share is None else settings.position_share
    takes_place = is_latest | (_generator(settings.seed, epoch, 5).random(num_rows) < position_share)
    asked = ((sequential >= 0) | (negative >= 0)) & (place >= 1) & np.where(is_late, takes_late, takes_place)
    if data.replay is not None:
        asked &= data.replay.drawn_rows(user, num_users, _generator(settings.seed, epoch, 3))
    rows = np.flatnonzero(asked)  # (P,)
    user, place, is_late = user[rows], place[rows], is_late[rows]
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = user[1:] != user[:-1]
    firsts = np.flatnonzero(is_first | is_late)  # (H,)
    place = np.minimum(place, history_length)
    return HistoryPlan(
        user[firsts],
        heads[user[firsts]],
        (rows - place)[firsts],
        np.append(firsts, len(rows)),
        place,
        sequential[rows],
        negative[rows],
        negatives[rows],
    )


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, epoch * 16 + stream]))
