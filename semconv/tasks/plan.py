"""Draw the samples of an epoch: positions, wordings and negatives, as a pure function of (seed, epoch).

A run that resumes at an epoch draws the same samples again, and an export draws the same samples as training. A plan
stores its samples in flat arrays, and can also be read prompt by prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import Ints, position_of, row_of
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.dates import DateTokens
from semconv.tasks.history_tasks import HISTORY_TASKS, HistoryTask
from semconv.tasks.text_tasks import TEXT_TASKS, TextTask
from semconv.tasks.wordings import HISTORY_HEADS


class Stream(IntEnum):
    """The independent streams of random numbers that an epoch uses."""

    HISTORIES = 0
    TEXT_WORDINGS = 1
    TEXT_SHARES = 2
    REPLAYED_USERS = 3
    REPLAYED_TEXTS = 4
    POSITIONS = 5
    MOMENTS = 6
    TEXT_BATCHES = 7
    BATCHES = 8


def generator(seed: int, epoch: int, stream: Stream) -> np.random.Generator:
    """Return the random generator of one stream of an epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch * 16 + stream]))


class Question(NamedTuple):
    """One prompt with a history, and its labels."""

    user: int
    head: int  # index into HISTORY_HEADS
    start: int  # first row of the history in TaskData.items
    position: int  # length of the history
    task: HistoryTask
    tail: int  # index into the task's tails
    answers: list[int]  # item indices
    wait: int = 0  # row of the days between the history and the question


@dataclass(frozen=True)
class HistoryPlan:
    """The H histories of an epoch, with P positions in total. At each position up to T tasks have a prompt."""

    user: Ints  # (H,)
    head: Ints  # (H,) index into HISTORY_HEADS
    start: Ints  # (H,) first row of the history in TaskData.items
    offsets: Ints  # (H + 1,) positions of each history
    position: Ints  # (P,) number of history items in the prompts at this position; increasing in a history
    tails: Ints  # (P, T) index into each task's tails, -1 where the task has no prompt
    answers: tuple[NDArray[np.int32], ...]  # for each task (P, k) item_index, -1 where there are fewer
    weights: NDArray[np.float64] | None = None  # (P,) weight of the loss of the item at the position; None: all weigh 1
    waits: Ints | None = None  # (P,) row of the days between the history and the question; None without dates

    def __len__(self) -> int:
        return len(self.user)

    def questions(self) -> Iterator[Question]:
        """Yield the prompts of all tasks, position after position."""
        history_of = row_of(np.diff(self.offsets))  # (P,)
        for row, history in enumerate(history_of):
            for task, tail, answers in zip(HISTORY_TASKS, self.tails[row].tolist(), self.answers, strict=True):
                if tail >= 0:
                    at = (self.user[history], self.head[history], self.start[history], self.position[row])
                    user, head, start, position = (int(number) for number in at)
                    items = [item for item in answers[row].tolist() if item >= 0]
                    wait = 0 if self.waits is None else int(self.waits[row])
                    yield Question(user, head, start, position, task, tail, items, wait)


class TextUnit(NamedTuple):
    """One sample of a task with text."""

    task: TextTask
    sample: int  # index into the task's candidates
    item: int
    user: int  # -1 for words that belong to an item
    wording: int


@dataclass(frozen=True)
class TextPlan:
    """The n samples of tasks with text in an epoch. Iteration yields a ``TextUnit`` for each sample."""

    task: Ints  # (n,) index into TEXT_TASKS
    sample: Ints  # (n,) index into the task's candidates
    item: NDArray[np.int32]  # (n,)
    user: Ints  # (n,) -1 for words that belong to an item
    wording: Ints  # (n,)

    def __len__(self) -> int:
        return len(self.item)

    def select(self, which: Any) -> TextPlan:
        """Return the samples that a slice, a mask or an array of indices chooses."""
        return TextPlan(*(column[which] for column in vars(self).values()))

    def __iter__(self) -> Iterator[TextUnit]:
        for task, *numbers in zip(*(column.tolist() for column in vars(self).values()), strict=True):
            yield TextUnit(TEXT_TASKS[task], *numbers)


@dataclass(frozen=True)
class EpochPlan:
    """All samples of one epoch, before they are shuffled."""

    histories: HistoryPlan
    texts: TextPlan


def plan_epoch(
    data: TaskData, settings: TaskSettings, epoch: int, history_length: int, dates: DateTokens | None = None
) -> EpochPlan:
    """Draw the samples of an epoch. With ``data.replay``, draw from all new samples and a share of the old samples.

    Args:
        dates: the tokens of dates in prompts; None for prompts without dates.
    """
    epoch = continued_epoch(data, epoch)
    waits = None if dates is None else dates.draw_waits(data, generator(settings.seed, epoch, Stream.MOMENTS))
    histories = _plan_histories(data, settings, epoch, history_length, waits)
    return EpochPlan(histories, _draw_texts(data, settings, epoch))


def continued_epoch(data: TaskData, epoch: int) -> int:
    """Return the number of an epoch counted from the first tuning, if this tuning continues an earlier one."""
    return epoch if data.replay is None else epoch + data.replay.epochs_before


def plan_texts(data: TaskData, settings: TaskSettings, epoch: int) -> TextPlan:
    """Draw the samples with text of an epoch, as ``plan_epoch`` does."""
    return _draw_texts(data, settings, continued_epoch(data, epoch))


def _draw_texts(data: TaskData, settings: TaskSettings, epoch: int) -> TextPlan:
    words = generator(settings.seed, epoch, Stream.TEXT_WORDINGS)
    candidates = [data.texts[task.name] for task in TEXT_TASKS]
    counts = np.array([len(one) for one in candidates])
    rows = np.concatenate([one.rows for one in candidates])
    users = np.searchsorted(data.offsets, rows, side="right") - 1
    plan = TextPlan(
        row_of(counts),
        position_of(counts),
        np.concatenate([one.items for one in candidates]),
        np.where(rows < 0, -1, users),
        np.concatenate(
            [words.integers(len(task.wordings), size=n) for task, n in zip(TEXT_TASKS, counts, strict=True)]
        ),
    )
    share = np.repeat([task.share(settings) for task in TEXT_TASKS], counts)
    is_drawn = generator(settings.seed, epoch, Stream.TEXT_SHARES).random(len(plan)) < share
    if data.replay is not None:
        is_drawn &= data.replay.draw_texts(generator(settings.seed, epoch, Stream.REPLAYED_TEXTS))
    return plan.select(is_drawn)


def _plan_histories(
    data: TaskData, settings: TaskSettings, epoch: int, history_length: int, waits: Ints | None
) -> HistoryPlan:
    rng = generator(settings.seed, epoch, Stream.HISTORIES)
    num_users, num_rows = len(data.offsets) - 1, len(data.items)
    user, position = data.users(), data.positions()  # (n,)
    head = rng.integers(len(HISTORY_HEADS), size=num_users)
    tails = np.stack([rng.integers(len(task.tails), size=num_rows) for task in HISTORY_TASKS], axis=1)  # (n, T)
    is_asked = np.stack([task.draw_users(settings, num_users, rng) for task in HISTORY_TASKS], axis=1)  # (U, T)
    takes_late = rng.random(num_rows) < settings.late_position_share
    answers = [task.draw_answers(data, settings, rng) for task in HISTORY_TASKS]  # (n, k) each
    has_answer = np.stack([(items >= 0).any(axis=1) for items in answers], axis=1)  # (n, T)
    tails[~(has_answer & is_asked[user])] = -1
    is_late = position > history_length  # such a history lacks its oldest items, so its prompts need an own trunk
    takes_position = np.where(is_late, takes_late, _draw_positions(data, settings, epoch, history_length))
    is_drawn = (tails >= 0).any(axis=1) & (position >= 1) & takes_position
    if data.replay is not None:
        is_drawn &= data.replay.draw_rows(user, num_users, generator(settings.seed, epoch, Stream.REPLAYED_USERS))
    rows = np.flatnonzero(is_drawn)  # (P,)
    user, position, is_late = user[rows], np.minimum(position[rows], history_length), is_late[rows]
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = user[1:] != user[:-1]
    firsts = np.flatnonzero(is_first | is_late)  # (H,)
    return HistoryPlan(
        user[firsts],
        head[user[firsts]],
        (rows - position)[firsts],
        np.append(firsts, len(rows)),
        position,
        tails[rows],
        tuple(items[rows] for items in answers),
        None if data.weights is None else data.weights[rows],
        None if waits is None else waits[rows],
    )


def _draw_positions(data: TaskData, settings: TaskSettings, epoch: int, history_length: int) -> NDArray[np.bool_]:
    """Draw a mask ``(n,)`` of positions, always with each user's latest position that has an uncut history."""
    latest = np.minimum(np.diff(data.offsets) - 1, history_length)  # (U,)
    share = 1.0 if settings.position_share is None else settings.position_share
    is_latest: NDArray[np.bool_] = data.positions() == latest[data.users()]
    return is_latest | (generator(settings.seed, epoch, Stream.POSITIONS).random(len(data.items)) < share)
