"""The inputs of a search with histories as items: for each user the latest items with their dates, and the moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.data.calendar import Calendar, gap_rows
from semconv.data.histories import Histories, prompt_items
from semconv.data.store import UNKNOWN_DAY, day_numbers
from semconv.item_head.popularity import ItemEvents, MomentTable
from semconv.ragged import Ints, lengths_of, padded


@dataclass(frozen=True)
class ItemPrompt:
    """The input for one user, or for one query in words.

    Attributes:
        items: ``(n,)`` item index, oldest first; empty for a query.
        periods, gaps: ``(n,)`` rows of the dates of the items.
        wait: row of the days between the latest item and the moment of asking.
        moment: row of the moment in the table of popularity; -1 for an unknown moment.
        tokens: tokens of a query's prompt, empty for a user.
    """

    items: NDArray[np.int32]
    periods: Ints
    gaps: Ints
    wait: int
    moment: int
    tokens: Ints

    def __len__(self) -> int:
        return len(self.items) + len(self.tokens)

    @classmethod
    def of_query(cls, tokens: Ints) -> ItemPrompt:
        """Return the input for a query in words."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none.astype(np.int32), none, none, 0, -1, tokens)


@dataclass(frozen=True)
class Moments:
    """When users are asked, and what was popular then.

    Attributes:
        table: the popularity of items.
        days: ``(U,)`` day on which each user is asked, ``UNKNOWN_DAY`` where unknown.
    """

    table: MomentTable
    days: Ints

    @classmethod
    def unknown(cls, num_users: int, num_items: int) -> Moments:
        """Return unknown moments, for a model or data without dates."""
        return MomentEvents.unknown(num_users, num_items).moments()


@dataclass(frozen=True)
class MomentEvents:
    """What moments are computed from, which is much smaller than the popularity of all items at all moments.

    Attributes:
        events: the interactions that are counted; they do not say which user they are of.
        days: ``(U,)`` day on which each user is asked, ``UNKNOWN_DAY`` where unknown.
        day: the one day for which the popularity is counted; None to count it at all days of a grid.
    """

    events: ItemEvents
    days: Ints
    day: int | None

    @classmethod
    def unknown(cls, num_users: int, num_items: int) -> MomentEvents:
        """Return no interactions and unknown days, for a model or data without dates."""
        none = np.zeros(0, dtype=np.int64)
        return cls(ItemEvents.of(none, none.astype(np.int32), num_items), np.full(num_users, UNKNOWN_DAY), None)

    def of_users(self, users: NDArray[np.int64]) -> MomentEvents:
        """Return the moments of some users; entry r is that of ``users[r]``."""
        return MomentEvents(self.events, self.days[users], self.day)

    def moments(self) -> Moments:
        """Count the popularity of items, and return it with the days of the users."""
        events = self.events
        table = events.grid if self.day is None else MomentTable.at(events, np.array([self.day]))
        return Moments(table, self.days)


class PromptMaker:
    """Makes the inputs of users, as the training made them.

    Args:
        calendar: the periods of the model.
        has_codes: ``(I,)`` whether an item has codes; other items are left out.
        length: largest number of items in an input.
    """

    def __init__(self, calendar: Calendar, has_codes: NDArray[np.bool_], length: int) -> None:
        self._calendar, self._has_codes, self._length = calendar, has_codes, length

    def prompts(self, histories: Histories, users: NDArray[np.int32], moments: Moments) -> list[ItemPrompt]:
        """Return the inputs of users ``(R,)``; a user without an item with codes gets an empty one."""
        return [self._prompt(histories, int(user), moments) for user in users]

    def _prompt(self, histories: Histories, user: int, moments: Moments) -> ItemPrompt:
        items, days = histories.of(user), day_numbers(histories.times_of(user))
        coded = self._has_codes[items]
        days = days[coded]
        periods, gaps = self._calendar.event_rows(days, np.array([0, len(days)]))
        shown = slice(max(0, len(days) - self._length), None)
        day, dated = moments.days[user : user + 1], self._calendar.num_periods > 0
        return ItemPrompt(
            prompt_items(items, self._has_codes, self._length),
            periods[shown],
            gaps[shown],
            int(gap_rows(days[-1:], day)[0]) if dated and len(days) else 0,
            int(moments.table.rows(day)[0]),
            np.zeros(0, dtype=np.int64),
        )


def padded_inputs(prompts: Sequence[ItemPrompt], rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the padded arrays of users' inputs: rows of item vectors, periods and gaps ``(B, T)``, and lengths ``(B,)``.

    Args:
        rows: ``(I,)`` row of each item in the table of item vectors.
    """
    lengths = lengths_of([prompt.items for prompt in prompts])
    columns = [
        rows[np.concatenate([prompt.items for prompt in prompts])],
        np.concatenate([prompt.periods for prompt in prompts]),
        np.concatenate([prompt.gaps for prompt in prompts]),
    ]
    tables = [torch.from_numpy(padded(column.astype(np.int64), lengths, 0)) for column in columns]
    return tables[0], tables[1], tables[2], torch.from_numpy(lengths)
