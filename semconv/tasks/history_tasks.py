"""The tasks whose prompts contain a history: predict the next item, or an item that the user will reject.

Each task is one object with its wordings and its random draws. ``HISTORY_TASKS`` lists the objects of all such tasks.
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
    """A task whose prompt contains a user's history and whose label is an item.

    A sample can be made at any position of a sequence: the items before the position are the history.
    """

    name: ClassVar[str]  # name in settings, step logs and exported prompts
    tails: ClassVar[tuple[str, ...]]  # the wordings after the history

    def phrases(self) -> list[str]:
        """Return every fixed piece of the task's prompts, without the heads that all tasks share."""
        return [closing(tail) for tail in self.tails]

    @abstractmethod
    def can_ask(self, data: TaskData, settings: TaskSettings) -> bool:
        """Return whether any epoch can have a sample of the task."""

    def draw_users(self, settings: TaskSettings, num_users: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Draw a mask ``(U,)`` of the users who get samples in an epoch: all users, unless a setting gives a share."""
        return np.ones(num_users, dtype=bool)

    @abstractmethod
    def draw_answers(self, data: TaskData, settings: TaskSettings, rng: np.random.Generator) -> NDArray[np.int32]:
        """Draw up to k labels for each row of ``data.items``, as item indices ``(n, k)``, padded with -1."""


class SequentialTask(HistoryTask):
    """The sequential task: predict the next item of a history."""

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
        """Return whether the task is on and any user likes an item after the user's first item."""
        return settings.sequential and bool(data.is_label[data.positions() >= 1].any())

    def draw_answers(self, data: TaskData, settings: TaskSettings, rng: np.random.Generator) -> NDArray[np.int32]:
        """Return the item of each row as its label, ``(n, 1)``; -1 where the user dislikes the item."""
        is_asked = data.is_label & settings.sequential
        return np.where(is_asked, data.items, -1)[:, None].astype(np.int32, copy=False)


class NegativeTask(HistoryTask):
    """The negative task: predict items that the user will reject (paper, Negative sampling task)."""

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
        """Return whether the task is on and a user has at least two items."""
        return settings.negatives > 0 and settings.negative_share > 0 and bool((data.positions() >= 1).any())

    def draw_users(self, settings: TaskSettings, num_users: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Draw a mask ``(U,)`` of the users who get negative samples in an epoch."""
        return rng.random(num_users) < settings.negative_share

    def draw_answers(self, data: TaskData, settings: TaskSettings, rng: np.random.Generator) -> NDArray[np.int32]:
        """Draw for each row of ``data.items`` items that the user dislikes or has never interacted with."""
        return draw_negatives(data, settings.negatives, rng)


SEQUENTIAL: Final = SequentialTask()
NEGATIVE: Final = NegativeTask()
HISTORY_TASKS: Final[tuple[HistoryTask, ...]] = (SEQUENTIAL, NEGATIVE)  # the order of random draws and of sample counts
