"""Histories under a split, as arrays that pass between processes without a copy a user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.columns import Split
from semconv.data.splits import history_lengths
from semconv.data.store import Sequences
from semconv.ragged import ranges


@dataclass(frozen=True)
class Histories:
    """The items of every user in order, up to where a split cuts; row u is ``user_index`` u.

    Attributes:
        starts: ``(U,)`` place of each user's first item.
        lengths: ``(U,)`` items of each history, -1 for a user who is not part of the split.
        items: ``(n,)`` item_index of all users one after the other, held-out ones between them.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    items: NDArray[np.int32]

    @classmethod
    def under(cls, sequences: Sequences, split: Split) -> Histories:
        """What a split shows of the sequences; items are shared, not copied."""
        return cls(sequences.offsets[:-1], history_lengths(sequences, split), sequences.items)

    def of(self, user: int) -> NDArray[np.int32]:
        """Items of one user in order."""
        start = self.starts[user]
        return self.items[start : start + max(int(self.lengths[user]), 0)]

    def flat(self, users: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Items of some users one after the other ``(m,)``, and how many each has ``(r,)``."""
        lengths = np.maximum(self.lengths[users], 0)
        return self.items[ranges(self.starts[users], lengths)], lengths

    def latest(self, users: NDArray[np.int32], length: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """As ``flat``, of the latest ``length`` items of each."""
        lengths = np.maximum(self.lengths[users], 0)
        shown = np.minimum(lengths, length)
        return self.items[ranges(self.starts[users] + lengths - shown, shown)], shown

    def latest_times(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """``(U,)`` time of each user's latest item of ``times`` ``(n,)``, the minimum int64 for users without any."""
        has = self.lengths > 0
        result = np.full(len(self.lengths), np.iinfo(np.int64).min)
        result[has] = times[self.starts[has] + self.lengths[has] - 1]
        return result


def shown(items: NDArray[np.int32], has_codes: NDArray[np.bool_], length: int) -> NDArray[np.int32]:
    """What a prompt shows of a history: its latest ``length`` items with codes; ``has_codes`` ``(I,)``."""
    return items[has_codes[items]][-length:]
