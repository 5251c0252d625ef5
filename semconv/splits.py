"""Leave-one-out: which part of a sequence trains, is shown as history, or is the target.

A sequence has n items in position order. Test target = item n - 1, validation target = item n - 2
(method: Evaluation). Users with fewer than three interactions are trained on and served, never
evaluated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semconv.columns import Split, TrainCut
from semconv.store import Sequences

MIN_EVALUATED_LENGTH = 3
_CUT_AT_END = {"[:-2]": 2, "[:-1]": 1, "[:]": 0}
_HISTORY_WITHOUT = {"valid": 2, "test": 1, "serve": 0}


def train_lengths(lengths: NDArray[np.int64], train_cut: TrainCut) -> NDArray[np.int64]:
    """How many items of each sequence train, ``(U,)``; short users keep all of theirs."""
    cut = _CUT_AT_END[train_cut]
    return np.where(lengths >= MIN_EVALUATED_LENGTH, lengths - cut, lengths)


def history_lengths(lengths: NDArray[np.int64], split: Split) -> NDArray[np.int64]:
    """How many items of each sequence are history under ``split``, ``(U,)``; -1 where not evaluated."""
    without = _HISTORY_WITHOUT[split]
    if split == "serve":
        return lengths
    return np.where(lengths >= MIN_EVALUATED_LENGTH, lengths - without, -1)


def targets(sequences: Sequences, split: Split) -> NDArray[np.int32]:
    """The held-out ``item_index`` of each user under ``valid`` or ``test``, ``(U,)``; -1 where there is none."""
    ends = history_lengths(sequences.lengths, split)
    result = np.full(len(ends), -1, dtype=np.int32)
    if split == "serve":
        return result
    evaluated = np.flatnonzero(ends >= 0)
    result[evaluated] = sequences.items[sequences.offsets[evaluated] + ends[evaluated]]
    return result


def core_masks(
    users: NDArray[np.int64], items: NDArray[np.int32], num_users: int, num_items: int, k: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The k-core of the interaction graph, iterated to its fixed point.

    Args:
        users, items: ``(n,)`` indices of every interaction.
    Returns:
        masks ``(num_users,)`` and ``(num_items,)`` of those with at least ``k`` interactions among each other.
    """
    keep = np.ones(len(users), dtype=bool)
    while True:
        user_counts = np.bincount(users[keep], minlength=num_users)
        item_counts = np.bincount(items[keep], minlength=num_items)
        new = keep & (user_counts[users] >= k) & (item_counts[items] >= k)
        if new.sum() == keep.sum():
            return user_counts >= k, item_counts >= k
        keep = new


def train_part(sequences: Sequences, train_cut: TrainCut, k_core: int, num_items: int) -> Sequences:
    """The sequences that training may see: the train cut, then users and items of the core alone.

    Users keep their index; one outside the core has an empty sequence.
    """
    lengths = sequences.lengths
    user_of_row = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    user_in_core, item_in_core = core_masks(user_of_row, sequences.items, len(lengths), num_items, k_core)
    place = np.arange(len(sequences.items)) - np.repeat(sequences.offsets[:-1], lengths)
    keep = place < np.repeat(train_lengths(lengths, train_cut), lengths)
    keep &= user_in_core[user_of_row] & item_in_core[sequences.items]
    return sequences.select_rows(keep)
