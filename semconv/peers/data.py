"""The data of a peer: windows of training sequences, and users whose items are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.data.store import Sequences
from semconv.errors import InputError
from semconv.peers.inputs import SideInputs
from semconv.ragged import Ints


@dataclass(frozen=True)
class RankingTask:
    """Users to rank items for."""

    histories: Sequence[NDArray[np.int32]]  # n arrays of item_index, oldest first
    targets: NDArray[np.int32]  # (n,) held-out item_index
    allowed: NDArray[np.bool_]  # (I,) items that may be listed
    is_masked: bool = True  # whether a list leaves out seen items
    seen: Sequence[NDArray[np.int32]] | None = None  # n arrays of seen items; None: the items of the histories
    numbers: Sequence[Ints] | None = None  # n arrays that the network reads (``SideInputs``); None: the histories

    def __len__(self) -> int:
        return len(self.histories)

    def read(self, rows: slice) -> Sequence[NDArray[Any]]:
        """Return what the network reads of some users' histories."""
        return self.histories[rows] if self.numbers is None else self.numbers[rows]

    def masked(self, rows: slice) -> Sequence[NDArray[np.int32]]:
        """Return the items that the lists of some users leave out."""
        return self.histories[rows] if self.seen is None else self.seen[rows]


@dataclass(frozen=True)
class PeerData:
    """The data of a training.

    Attributes:
        train: the training part of all sequences.
        num_items: number of items of the catalogue.
        validation: users on whom an epoch is chosen; None keeps the weights of the last epoch.
        side: dates and text vectors; None for a network that reads items only.
    """

    train: Sequences
    num_items: int
    validation: RankingTask | None = None
    side: SideInputs | None = None


def overlapping_windows(train: Sequences, length: int) -> NDArray[np.int32]:
    """Cut each sequence into windows ``(W, length + 1)``, beginning at its end, with -1 before its start.

    Every item except the first of a sequence is the last input's successor in exactly one window.

    Raises:
        InputError: no sequence has two items.
    """
    rows = []
    for user in range(len(train)):
        items = train.of(user)
        for end in range(len(items), 1, -length):
            rows.append(items[max(0, end - length - 1) : end])
    return _padded(rows, length + 1)


def prefix_windows(train: Sequences, length: int) -> NDArray[np.int32]:
    """Return a window ``(length + 1,)`` for each item that has a history: up to ``length`` items, then the item itself.

    Raises:
        InputError: no sequence has two items.
    """
    rows = []
    for user in range(len(train)):
        items = train.of(user)
        rows += [items[max(0, end - length - 1) : end] for end in range(2, len(items) + 1)]
    return _padded(rows, length + 1)


def right_aligned(histories: Sequence[NDArray[Any]], length: int) -> NDArray[Any]:
    """Return the latest ``length`` items of each history, ``(n, length)``, -1 before its start."""
    result = np.full((len(histories), length), -1, dtype=histories[0].dtype if len(histories) else np.int32)
    for row, history in enumerate(histories):
        latest = history[-length:]
        result[row, length - len(latest) :] = latest
    return result


def _padded(rows: list[NDArray[np.int32]], length: int) -> NDArray[np.int32]:
    if not rows:
        raise InputError("no training sequence has two items, so a sequential recommender learns nothing; ingest more")
    return right_aligned(rows, length)
