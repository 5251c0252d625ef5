"""Dates in prompts: after the codes of each event a token of its period and a token of its gap.

A history with dates reads ``<a_1>...<d_4><period_3><gap_2>, <a_7>...<d_9><period_3><gap_5><gap_1>`` and then the question.
The dates follow the codes, because a code is predicted from all tokens before it, and the date of the next event is not
known when the model predicts the next item. The last token says how long ago the last event was. It is the token of a
gap of the same length.

All these tokens are added to the tokenizer, beside the code tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from semconv.backbone.code_tokens import add_tokens, token_ids
from semconv.data.calendar import GAP_ROWS, Calendar, gap_rows
from semconv.data.store import day_numbers
from semconv.ragged import Ints
from semconv.tasks.data import TaskData

TOKENS_OF_EVENT = 2


class DateRange(NamedTuple):
    """The dates that a model knows: those of its training interactions. Two models of one range have the same tokens."""

    first_day: int  # of the calendar
    num_periods: int  # of the calendar, at least 1
    num_gaps: int  # 1 + the row of the longest gap; a longer gap counts as the longest

    @classmethod
    def of(cls, data: TaskData) -> DateRange | None:
        """Return the dates of training data; None if no interaction has a time."""
        days = day_numbers(data.times)
        calendar = Calendar.of(days)
        if calendar.num_periods == 0:
            return None
        _, gaps = calendar.event_rows(days, data.offsets)
        return cls(calendar.first_day, calendar.num_periods, int(gaps.max()) + 1)

    @property
    def names(self) -> list[str]:
        """The tokens of all periods and then of all gaps, each from row 0, an unknown date, on."""
        periods = [f"<period_{row}>" for row in range(self.num_periods + 1)]
        return periods + [f"<gap_{row}>" for row in range(self.num_gaps)]


@dataclass(frozen=True)
class DateTokens:
    """The tokens of a range of dates.

    Attributes:
        range: the dates.
        ids: ``(num_periods + 1 + num_gaps,)`` the token of each of ``range.names``.
    """

    range: DateRange
    ids: Ints

    @classmethod
    def read(cls, tokenizer: Any, of: DateRange) -> DateTokens:
        """Look the tokens up in the tokenizer of a model; raise InputError if it lacks one."""
        return cls(of, token_ids(tokenizer, of.names))

    @classmethod
    def add(cls, model: Any, tokenizer: Any, of: DateRange) -> DateTokens:
        """Add the missing tokens to a tokenizer and random rows to the embedding matrices of its model."""
        add_tokens(model, tokenizer, of.names)
        return cls.read(tokenizer, of)

    @property
    def calendar(self) -> Calendar:
        """The periods."""
        return Calendar(self.range.first_day, self.range.num_periods)

    @property
    def waits(self) -> Ints:
        """The token of each row of gaps, ``(GAP_ROWS,)``. Rows after the longest gap have the token of the longest."""
        gaps = self.ids[self.range.num_periods + 1 :]
        return gaps[np.minimum(np.arange(GAP_ROWS), len(gaps) - 1)]

    def of_events(self, days: Ints, offsets: Ints) -> Ints:
        """Return the tokens of the period and of the gap of each event, ``(n, 2)``.

        Args:
            days: ``(n,)`` of the events of all users, one user after the other.
            offsets: ``(U + 1,)`` the first event of each user.
        """
        periods, gaps = self.calendar.event_rows(days, offsets)
        return np.stack([self.ids[periods], self.waits[gaps]], axis=1)

    def draw_waits(self, data: TaskData, rng: np.random.Generator) -> Ints:
        """Draw how long before its prediction each row's event before was, as a row of gaps ``(n,)``."""
        return gap_rows(*self.calendar.draw_moments(day_numbers(data.times), rng))
