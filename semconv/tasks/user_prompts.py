"""The prompts of a search with histories as code tokens: for each user the latest items, with their dates if there are any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.data.calendar import gap_rows
from semconv.data.histories import Histories, prompt_items
from semconv.data.store import day_numbers
from semconv.ragged import Ints
from semconv.tasks.encoder import PromptEncoder


@dataclass(frozen=True)
class TokenPrompts:
    """Makes the prompts of a model that reads code tokens.

    Attributes:
        length: largest number of items in a prompt.
        days: ``(U,)`` day on which each user is asked, for a model that reads dates; None if all are unknown.
    """

    encoder: PromptEncoder
    length: int
    days: Ints | None = None

    def of_users(self, histories: Histories, users: NDArray[np.integer]) -> list[Ints]:
        """Return the tokens of each user's prompt; no tokens for a user without an item with codes."""
        return [self._prompt(histories, int(user)) for user in users]

    def of_query(self, tokens: Ints) -> Ints:
        """Return the tokens of a query's prompt as they are."""
        return tokens

    def _prompt(self, histories: Histories, user: int) -> Ints:
        encoder, history = self.encoder, histories.of(user)
        items = prompt_items(history, encoder.has_codes, self.length)
        if len(items) == 0:
            return np.zeros(0, dtype=np.int64)
        if encoder.dates is None:
            return encoder.inference_prompt(items)
        days = day_numbers(histories.times_of(user))[encoder.has_codes[history]]
        dates = encoder.dates.of_events(days, np.array([0, len(days)]))  # the first shown item has a gap too
        wait = 0 if self.days is None else int(gap_rows(days[-1:], self.days[user : user + 1])[0])
        return encoder.inference_prompt(items, dates[-self.length :], wait)
