"""What SASRec may read besides items: the dates of events and the text vectors of items, as the item head reads them.

A network reads one number for each event of a history. With dates, the number names the item together with its date:
item + I * (period + P * gap), where I is the number of items, and period and gap are rows of ``data.calendar``. So
windows, padding (-1) and batches are the same with dates and without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semconv.data.calendar import Calendar, gaps_before
from semconv.data.store import day_numbers
from semconv.ragged import Ints

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class SideInputs:
    """The calendar and the text vectors that a network reads.

    Attributes:
        calendar: the periods of the training interactions; no periods for a network without dates.
        texts: ``(I, T)`` projected text vectors; T is 0 for a network without text vectors.
    """

    calendar: Calendar
    texts: NDArray[np.float32]

    @property
    def num_items(self) -> int:
        """The number I of items."""
        return len(self.texts)

    @property
    def num_periods(self) -> int:
        """The number P of rows of periods, with the row of an unknown day; 0 without dates."""
        return self.calendar.num_periods + 1 if self.calendar.num_periods else 0

    def numbers(self, items: NDArray[np.int32], times: NDArray[np.int64], offsets: Ints) -> Ints:
        """Return the numbers that a network reads for the events of sequences, ``(n,)``.

        Args:
            items, times: ``(n,)`` of all sequences, one after the other; times in microseconds since 1970.
            offsets: ``(U + 1,)`` first event of each sequence.
        """
        if not self.num_periods:
            return items.astype(np.int64)
        days = day_numbers(times)
        date = self.calendar.period_rows(days) + self.num_periods * gaps_before(days, offsets)
        return items + self.num_items * date

    def parts(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the items, the rows of their periods and the rows of their gaps that numbers of at least 0 name."""
        date = numbers // self.num_items
        rows = max(1, self.num_periods)
        return numbers % self.num_items, date % rows, date // rows
