"""The tasks that ask about a history: which item comes next, and which item the user will reject.

One object per task holds everything that belongs to it. ``HISTORY_TASKS`` lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.negatives import draw_negatives
from semconv.tasks.wordings import closing


class HistoryTask(ABC):
    """A question about a history that an epoch can ask at any position of a user's sequence."""

    name: ClassVar[str]  # in settings, step logs and exported prompts
    tails: ClassVar[tuple[str, ...]]  # the wordings of the question

    def phrases(self) -> list[str]:
        """Return every fixed piece of the task's prompts, without the shared heads."""
        return [closing(tail) for tail in self.tails]

    @abstractmethod
    def can_ask(self, data: TaskData, settings: TaskSettings) -> bool:
        """Whether any epoch can have a sample of the task."""

    def draw_users(self, settings: TaskSettings, num_users: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Draw the users that an epoch asks, ``(U,)``: all of them unless a task has a share of its own."""
        return np.ones(num_users, dtype=bool)

    @abstractmethod
    def draw_answers(self, data: TaskData, settings: TaskSettings, rng: np.random.Generator) -> NDArray[np.int32]:
        """Draw the answers for each row of ``data.items``: item indices ``(n, k)``, -1 where there are fewer than k."""


class SequentialTask(HistoryTask):
    """Ask for the next item."""

    name = "sequential"
    tails = (
        " in chronological order. Can you predict the next possible item that the user may expect?",
        ", what to recommend to the user next?",
        ". Which item comes next?",
        ". Name the item that follows.",
        ". What will be chosen after these?",
        ". Give the item that fits best as the next one.",
        ". What should be offered now?",
        ". Continue the list by one item.",
        ". Which item is this person about to take?",
        ". Tell me the next item.",
    )

    def can_ask(self, data: TaskData, settings: TaskSettings) -> bool:
        """Whether any user likes an item after the first one."""
        return settings.sequential and bool(data.is_label[data.positions() >= 1].any())

    def draw_answers(self, data: TaskData, settings: TaskSettings, rng: np.random.Generator) -> NDArray[np.int32]:
        """Return the item of each row ``(n, 1)``, -1 where the user dislikes it."""
        is_asked = data.is_label & settings.sequential
        return np.where(is_asked, data.items, -1)[:, None].astype(np.int32, copy=False)


class NegativeTask(HistoryTask):
    """Ask for items that the user will reject (paper, Negative sampling task)."""

    name = "negative"
    tails = (
        ". Which item is of no interest to this person?",
        ", what will user hate next?",
        ". Name an item that will not be chosen.",
        ". What should not be offered now?",
        ". Which item would be a mistake to recommend?",
        ". Give an item that does not fit here.",
        ". What will this person dislike?",
        ". Tell me an item to keep away from this user.",
        ". Which item is going to be turned down?",
        ". Pick something that this shopper does not want.",
    )

    def can_ask(self, data: TaskData, settings: TaskSettings) -> bool:
        """Whether any user has two items, and users are asked for negatives."""
        return settings.negatives > 0 and settings.negative_share > 0 and bool((data.positions() >= 1).any())

    def draw_users(self, settings: TaskSettings, num_users: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Draw the users that an epoch asks, ``(U,)``."""
        return rng.random(num_users) < settings.negative_share

    def draw_answers(self, data: TaskData, settings: TaskSettings, rng: np.random.Generator) -> NDArray[np.int32]:
        """Draw items that the user dislikes or never had."""
        return draw_negatives(data, settings.negatives, rng)


SEQUENTIAL: Final = SequentialTask()
NEGATIVE: Final = NegativeTask()
HISTORY_TASKS: Final[tuple[HistoryTask, ...]] = (SEQUENTIAL, NEGATIVE)  # the order of random draws and of sample counts
