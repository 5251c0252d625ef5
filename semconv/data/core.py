"""The k-core of the interactions before the train cut: the users and items that training uses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semconv.columns import TrainCut
from semconv.data.splits import train_mask
from semconv.data.store import Sequences
from semconv.ragged import row_of


def core_masks(
    users: NDArray[np.int64], items: NDArray[np.int32], num_users: int, num_items: int, k: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the k-core: the largest set of users and items in which each has at least k interactions with the others.

    Args:
        users, items: ``(n,)`` user_index and item_index of every interaction.

    Returns:
        masks ``(num_users,)`` and ``(num_items,)``.
    """
    keep = np.ones(len(users), dtype=bool)
    while True:
        user_counts = np.bincount(users[keep], minlength=num_users)
        item_counts = np.bincount(items[keep], minlength=num_items)
        new = keep & (user_counts[users] >= k) & (item_counts[items] >= k)
        if new.sum() == keep.sum():
            return user_counts >= k, item_counts >= k
        keep = new


def train_core(
    sequences: Sequences, train_cut: TrainCut, k_core: int, num_items: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which users and items are in the k-core of the interactions before the train cut, ``(U,)`` and ``(I,)``.

    Interactions at or after the train cut count for nobody, so no held-out interaction decides what is trained on.
    ``train_lengths`` says which interactions lie before the cut, for leave-one-out and for a split in time.
    """
    return _core_of(sequences, train_mask(sequences, train_cut), k_core, num_items)


def train_part(sequences: Sequences, train_cut: TrainCut, k_core: int, num_items: int) -> Sequences:
    """Return the sequences for training: the interactions before the train cut of users and items in ``train_core``.

    - A user outside the k-core keeps the index and has an empty training sequence. The user still gets lists, and is
      evaluated like all others: histories and held-out items depend on the whole sequence (``history_lengths``), never
      on the k-core.
    - An item outside the k-core is in no training sequence, so it has no learned vector. It gets codes from its text if
      it has any, like a new item. It stays in the histories of its users, it may be listed, and it may be held out.
    - The SQL baselines, the counts of the blend and popularity in evaluations count the whole train cut, which is the
      1-core.
    """
    return sequences.select_rows(core_rows(sequences, train_cut, k_core, num_items))


def core_rows(sequences: Sequences, train_cut: TrainCut, k_core: int, num_items: int) -> NDArray[np.bool_]:
    """Return which rows of the sequences ``train_part`` keeps, ``(n,)``."""
    keep = train_mask(sequences, train_cut)
    users, items = _core_of(sequences, keep, k_core, num_items)
    return np.asarray(keep & users[row_of(sequences.lengths)] & items[sequences.items])


def _core_of(
    sequences: Sequences, counted: NDArray[np.bool_], k_core: int, num_items: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the k-core of the interactions that the mask ``counted`` ``(n,)`` marks, as ``core_masks`` does."""
    users = row_of(sequences.lengths)[counted]
    return core_masks(users, sequences.items[counted], len(sequences), num_items, k_core)
