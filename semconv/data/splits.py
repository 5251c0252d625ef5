"""Split each sequence into training items, history items and the held-out target.

Leave-one-out: in a sequence of n items, numbered from 0, the test target is item n - 1 and the validation target is
item n - 2 (docs/method.md, Evaluation). Users with fewer than three interactions are used for training and serving, but
never for evaluation.

Split in time: sequences with ``cuts`` are cut at two moments that are the same for all users: the validation cut and
the test cut. With the train cut ``[:-2]``, training sees only items before the validation cut. The validation target of
a user is the first item at or after the validation cut, and the test target is the first item at or after the test cut.
The history is all items before the target. A user with an interaction without a time cannot be split: such users get
lists, but they are neither trained on nor evaluated.

Sequences with ``rules`` hold events, and ``semconv.data.interactions`` says which of them are interactions. Then a target
is an interaction of a type that may be predicted, and no returned item is one. The history is the interactions among the
events before the target, and no weaker event on the target's item: a cart before a purchase neither masks the purchase nor
gives it away. Such events do not train either, nor do any of the user's events from the validation target on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semconv.columns import Split, TrainCut
from semconv.data.interactions import HeldOut, before, interaction_mask, returned, target_mask
from semconv.data.store import Sequences, TimeCuts
from semconv.data.time_cuts import dated_users, lengths_before
from semconv.ragged import Ints, kept_offsets

MIN_EVALUATED_LENGTH = 3
CUT_AT_END = {"[:-2]": 2, "[:-1]": 1, "[:]": 0}
HISTORY_WITHOUT = {"valid": 2, "test": 1, "serve": 0}


def train_lengths(sequences: Sequences, train_cut: TrainCut) -> NDArray[np.int64]:
    """Return how many rows of each sequence lie before the train cut, ``(U,)``.

    Without cuts in time, all items of a sequence with fewer than three items are for training. With cuts in time, the
    train cut ``[:-2]`` keeps the items before the validation cut, and ``[:-1]`` the items before the test cut; users
    with an interaction without a time have no items for training.
    """
    lengths = sequences.lengths
    if sequences.cuts is not None:
        moment = sequences.cuts.of_training(train_cut)
        return lengths if moment is None else np.where(dated_users(sequences), lengths_before(sequences, moment), 0)
    if sequences.rules is not None:
        ends = lengths
        for held in _held_out_of_training(sequences, train_cut):  # the validation target is the earlier one
            ends = np.where(held.rows >= 0, held.rows - sequences.offsets[:-1], ends)
        return ends
    return np.where(lengths >= MIN_EVALUATED_LENGTH, lengths - CUT_AT_END[train_cut], lengths)


def counted_cut(cuts: TimeCuts | None, split: Split, train_cut: TrainCut) -> TrainCut:
    """Return the train cut whose items the counts of lists for a split come from: popularity, transitions, recency.

    A night counts all interactions. A split in time evaluates a list as if the night of its cut had made it, so counts
    go up to that cut, also where the model was trained before an earlier one. Leave-one-out has no such night: counts
    come from the train cut of the model.
    """
    if split == "serve":
        return "[:]"
    if cuts is None:
        return train_cut
    return "[:-1]" if split == "test" else "[:-2]"


def train_mask(sequences: Sequences, train_cut: TrainCut) -> NDArray[np.bool_]:
    """Return which rows of the sequences are interactions for training, ``(n,)``."""
    return interaction_mask(sequences, train_lengths(sequences, train_cut), _held_out_of_training(sequences, train_cut))


def train_rejections(sequences: Sequences, train_cut: TrainCut) -> NDArray[np.bool_]:
    """Return which rows are returns or dislikes before the train cut that still stand at the cut, ``(n,)``."""
    known = before(sequences, train_lengths(sequences, train_cut))
    for held in _held_out_of_training(sequences, train_cut):
        known &= ~held.on_same_item(sequences)
    return returned(sequences, known, train_mask(sequences, train_cut))


def _held_out_of_training(sequences: Sequences, train_cut: TrainCut) -> list[HeldOut]:
    """Return the held-out events that must leave no trace in the training data, the earliest one last."""
    if sequences.rules is None or train_cut == "[:]":
        return []
    splits: tuple[Split, ...] = ("test", "valid") if train_cut == "[:-2]" else ("test",)
    return [HeldOut(target_rows(sequences, split)) for split in splits]


def history_mask(sequences: Sequences, split: Split) -> NDArray[np.bool_]:
    """Return which rows of the sequences are the histories under a split, ``(n,)``; none of users who are not evaluated."""
    if split == "serve":
        return interaction_mask(sequences)
    held_out = [] if sequences.rules is None else [HeldOut(target_rows(sequences, split))]
    return interaction_mask(sequences, np.maximum(history_ends(sequences, split), 0), held_out)


def history_lengths(sequences: Sequences, split: Split) -> NDArray[np.int64]:
    """Return the number of history items of each user under a split, ``(U,)``; -1 for users who are not evaluated."""
    ends = history_ends(sequences, split)
    if sequences.rules is None:
        return ends
    return np.where(ends >= 0, np.diff(kept_offsets(sequences.offsets, history_mask(sequences, split))), -1)


def history_ends(sequences: Sequences, split: Split) -> NDArray[np.int64]:
    """Return the number of rows of each user before the cut of a split, ``(U,)``; -1 for users who are not evaluated.

    With cuts in time, a user is evaluated if every interaction has a time and the sequence has an item before the cut of
    the split and an item at or after this cut. A validation target must also lie before the test cut.
    """
    lengths = sequences.lengths
    if split == "serve":
        return lengths
    if sequences.rules is not None:
        rows = target_rows(sequences, split)
        if sequences.cuts is None:
            return np.where(rows >= 0, rows - sequences.offsets[:-1], -1)
        moment = sequences.cuts.test if split == "test" else sequences.cuts.valid
        return np.where(rows >= 0, lengths_before(sequences, moment), -1)
    if sequences.cuts is None:
        return np.where(lengths >= MIN_EVALUATED_LENGTH, lengths - HISTORY_WITHOUT[split], -1)
    before_test = lengths_before(sequences, sequences.cuts.test)
    before, ends = (
        (before_test, lengths) if split == "test" else (lengths_before(sequences, sequences.cuts.valid), before_test)
    )
    return np.where((before > 0) & (before < ends) & dated_users(sequences), before, -1)


def targets(sequences: Sequences, split: Split) -> NDArray[np.int32]:
    """Return the held-out item_index of each user under the split ``valid`` or ``test``, ``(U,)``; -1 for none."""
    rows = target_rows(sequences, split)
    result = np.full(len(rows), -1, dtype=np.int32)
    evaluated = rows >= 0
    result[evaluated] = sequences.items[rows[evaluated]]
    return result


def target_rows(sequences: Sequences, split: Split) -> NDArray[np.int64]:
    """Return the row of each user's held-out event under the split ``valid`` or ``test``, ``(U,)``; -1 for none."""
    if split == "serve":
        return np.full(len(sequences), -1)
    if sequences.rules is None:
        ends = history_ends(sequences, split)
        return np.where(ends >= 0, sequences.offsets[:-1] + ends, -1)
    name = f"targets of {split}"
    if name not in sequences.memo:
        rows = _targets_in_time(sequences, split) if sequences.cuts is not None else _latest_targets(sequences, split)
        ends = np.maximum(rows - sequences.offsets[:-1], 0)
        if sequences.cuts is not None:
            ends = np.minimum(
                ends, lengths_before(sequences, sequences.cuts.test if split == "test" else sequences.cuts.valid)
            )
        history = interaction_mask(sequences, ends, [HeldOut(rows)])
        has_history = np.diff(kept_offsets(sequences.offsets, history)) > 0
        sequences.memo[name] = np.where(has_history, rows, -1)
    rows_of_split: Ints = sequences.memo[name]
    return rows_of_split


def _latest_targets(sequences: Sequences, split: Split) -> Ints:
    """Return the row of each user's last target, or of the one before for ``valid``, ``(U,)``; -1 for none."""
    can_be = target_mask(sequences)
    rows, ends = np.flatnonzero(can_be), kept_offsets(sequences.offsets, can_be)
    last = 1 if split == "test" else 2
    num_interactions = np.diff(kept_offsets(sequences.offsets, interaction_mask(sequences)))
    has = (np.diff(ends) >= last) & (num_interactions >= MIN_EVALUATED_LENGTH)
    result = np.full(len(sequences), -1)
    result[has] = rows[ends[1:][has] - last]
    return result


def _targets_in_time(sequences: Sequences, split: Split) -> Ints:
    """Return the row of each user's first target at or after the cut of a split, ``(U,)``; -1 for none."""
    assert sequences.cuts is not None
    before_test = sequences.offsets[:-1] + lengths_before(sequences, sequences.cuts.test)
    first, end = (
        (before_test, sequences.offsets[1:])
        if split == "test"
        else (sequences.offsets[:-1] + lengths_before(sequences, sequences.cuts.valid), before_test)
    )
    rows = np.append(np.flatnonzero(target_mask(sequences)), len(sequences.items))
    found = rows[np.searchsorted(rows, first)]
    return np.where((found < end) & dated_users(sequences), found, -1)


def known_part(sequences: Sequences, split: Split) -> Sequences:
    """Return the interactions of all users that a night at the cut of a split in time knows; for ``serve``, all of them.

    Sequences without rules are returned as they are, so the caller leaves out later interactions by their day.
    """
    if sequences.rules is None:
        return sequences
    ends = None
    if sequences.cuts is not None and (moment := sequences.cuts.of_history(split)) is not None:
        ends = lengths_before(sequences, moment)
    return sequences.select_rows(interaction_mask(sequences, ends))
