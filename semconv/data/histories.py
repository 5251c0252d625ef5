"""Histories of all users under a split, as three flat arrays that are cheap to send to other processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.columns import Split
from semconv.data.splits import history_lengths
from semconv.data.store import UNKNOWN_TIME, Sequences
from semconv.ragged import ranges


@dataclass(frozen=True)
class Histories:
    """The history of every user, oldest item first; row u is ``user_index`` u.

    Attributes:
        starts: ``(U,)`` index of each user's first item in ``items``.
        lengths: ``(U,)`` number of items of each history, -1 for a user who is not part of the split.
        items: ``(n,)`` item_index of all users, one user after the other; includes held-out items.
        times: ``(n,)`` time of each of ``items`` in microseconds since 1970, UNKNOWN_TIME where unknown.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.int64]

    @classmethod
    def under(cls, sequences: Sequences, split: Split) -> Histories:
        """Return each user's history under a split, without copying the items."""
        return cls(sequences.offsets[:-1], history_lengths(sequences, split), sequences.items, sequences.times)

    def of(self, user: int) -> NDArray[np.int32]:
        """Return the items of one user's history, oldest first."""
        start = self.starts[user]
        return self.items[start : start + max(int(self.lengths[user]), 0)]

    def times_of(self, user: int) -> NDArray[np.int64]:
        """Return the times of one user's history, in the same order as ``of``."""
        start = self.starts[user]
        return self.times[start : start + max(int(self.lengths[user]), 0)]

    def flat(self, users: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the histories of r users as one array ``(m,)``, and the length of each history ``(r,)``."""
        lengths = np.maximum(self.lengths[users], 0)
        return self.items[ranges(self.starts[users], lengths)], lengths

    def flat_times(self, users: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the times of the items that ``flat`` returns, ``(m,)``."""
        return self.times[ranges(self.starts[users], np.maximum(self.lengths[users], 0))]

    def latest(self, users: NDArray[np.int32], length: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the same as ``flat``, but with at most the latest ``length`` items of each user."""
        lengths = np.maximum(self.lengths[users], 0)
        shown = np.minimum(lengths, length)
        return self.items[ranges(self.starts[users] + lengths - shown, shown)], shown

    def latest_times(self) -> NDArray[np.int64]:
        """Return the time of each user's latest item ``(U,)``, UNKNOWN_TIME for a user without items."""
        has = self.lengths > 0
        result = np.full(len(self.lengths), UNKNOWN_TIME)
        result[has] = self.times[self.starts[has] + self.lengths[has] - 1]
        return result


def prompt_items(items: NDArray[np.int32], has_codes: NDArray[np.bool_], length: int) -> NDArray[np.int32]:
    """Return the items of a history that the prompt contains: the latest ``length`` items that have codes.

    Args:
        has_codes: ``(I,)`` whether an item has codes, by item_index.
    """
    return items[has_codes[items]][-length:]
