"""Dates in prompts: after the codes of each event a token of its period and a token of its gap.

A history with dates reads ``<a_1>...<d_4><period_3><gap_2>, <a_7>...<d_9><period_3><gap_5><gap_1>`` and then the question.
The dates follow the codes, because a code is predicted from all tokens before it, and the date of the next event is not
known when the model predicts the next item. The last token says how long ago the last event was. It is the token of a
gap of the same length.

All these tokens are added to the tokenizer, beside the code tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semconv.backbone.code_tokens import add_tokens, token_ids
from semconv.data.calendar import GAP_ROWS, Calendar, gap_rows
from semconv.data.store import day_numbers
from semconv.ragged import Ints
from semconv.tasks.data import TaskData

TOKENS_OF_EVENT = 2
_LEAST_SHARE = 0.1


class DateRange(NamedTuple):
    """The dates that a model knows: those of its training prompts. Two models of one range have the same tokens.

    A token that training prompts hardly have would keep its random vector, so no prompt has such a token.
    """

    first_day: int  # of the calendar
    num_periods: int  # at least 1; a later day counts as one of the last period
    num_gaps: int  # 1 + the row of the longest gap; a longer gap counts as the longest
    rare_gaps: tuple[int, ...] = ()  # rows below ``num_gaps`` that count as the nearest other row
    has_unknown: bool = True  # otherwise an event without a time counts as one of the last period

    @classmethod
    def of(cls, data: TaskData) -> DateRange | None:
        """Return the dates of the prompts that training data can have; None if no interaction has a time.

        The last event of a sequence is never in a history. Periods and gaps that prompts have less often than a tenth of
        the mean are not known, because a few prompts hardly train a token.
        """
        days = day_numbers(data.times)
        calendar = Calendar.of(days)
        if calendar.num_periods == 0:
            return None
        is_first, is_last = np.zeros(len(days), dtype=bool), np.zeros(len(days), dtype=bool)
        has_any = np.diff(data.offsets) > 0
        is_first[data.offsets[:-1][has_any]] = is_last[data.offsets[1:][has_any] - 1] = True
        periods, gaps = calendar.event_rows(days, data.offsets)
        of_periods = np.bincount(periods[~is_last], minlength=calendar.num_periods + 1)
        of_gaps = np.bincount(gaps[~is_last], minlength=GAP_ROWS).astype(float)
        before, start = calendar.moments(days)
        for day in (before, start):  # each is drawn for half of the predictions
            of_gaps += np.bincount(gap_rows(before, day)[~is_first], minlength=GAP_ROWS) / 2
        known_gaps = _frequent(of_gaps)
        num_gaps = int(known_gaps.max(initial=0)) + 1
        return cls(
            calendar.first_day,
            int(_frequent(of_periods).max(initial=1)),
            num_gaps,
            tuple(np.setdiff1d(np.arange(1, num_gaps), known_gaps).tolist()),
            bool(of_periods[0]),
        )

    @classmethod
    def of_plain(cls, plain: Sequence[Any]) -> DateRange:
        """Return the range of a JSON list of its fields."""
        first_day, num_periods, num_gaps, *rest = plain
        rare, has_unknown = rest or ((), True)  # the first models with dates had three fields
        return cls(first_day, num_periods, num_gaps, tuple(rare), has_unknown)

    @property
    def names(self) -> list[str]:
        """The tokens of all periods and then of all gaps, each from row 0, an unknown date, on."""
        periods = [f"<period_{row}>" for row in range(self.num_periods + 1)]
        return periods + [f"<gap_{row}>" for row in range(self.num_gaps)]


def _frequent(counts: NDArray[Any]) -> Ints:
    """Return the rows from 1 on with at least a tenth of the mean count of all rows that occur, ascending."""
    known = counts[1:]
    least = _LEAST_SHARE * known[known > 0].mean() if known.any() else np.inf
    return 1 + np.flatnonzero(known >= least)


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
    def add(cls, model: Any, tokenizer: Any, of: DateRange, seed: int = 0) -> DateTokens:
        """Add the missing tokens to a tokenizer and random rows to the embedding matrices of its model."""
        add_tokens(model, tokenizer, of.names, seed)
        return cls.read(tokenizer, of)

    @property
    def calendar(self) -> Calendar:
        """The periods."""
        return Calendar(self.range.first_day, self.range.num_periods)

    @property
    def waits(self) -> Ints:
        """The token of each row of gaps, ``(GAP_ROWS,)``; that of the nearest row for a row that is not known."""
        known = np.setdiff1d(np.arange(1, self.range.num_gaps), self.range.rare_gaps)
        nearest = np.zeros(GAP_ROWS, dtype=np.int64)  # row 0, an unknown gap, is near to none
        if len(known):
            rows = np.arange(1, GAP_ROWS)
            nearest[1:] = known[np.abs(rows[:, None] - known).argmin(axis=1)]
        return self.ids[self.range.num_periods + 1 :][nearest]

    def of_events(self, days: Ints, offsets: Ints) -> Ints:
        """Return the tokens of the period and of the gap of each event, ``(n, 2)``.

        Args:
            days: ``(n,)`` of the events of all users, one user after the other.
            offsets: ``(U + 1,)`` the first event of each user.
        """
        periods, gaps = self.calendar.event_rows(days, offsets)
        if not self.range.has_unknown:
            periods = np.where(periods == 0, self.range.num_periods, periods)
        return np.stack([self.ids[periods], self.waits[gaps]], axis=1)

    def draw_waits(self, data: TaskData, rng: np.random.Generator) -> Ints:
        """Draw how long before its prediction each row's event before was, as a row of gaps ``(n,)``."""
        return gap_rows(*self.calendar.draw_moments(day_numbers(data.times), rng))
