"""Which part of a sequence trains, is shown as history, or is the target.

Leave-one-out: a sequence has n items in position order. Test target = item n - 1, validation target = item n - 2
(method: Evaluation). Users with fewer than three interactions are trained on and served, never evaluated.

Temporal: sequences that carry ``cuts`` are cut at two moments, the same for everybody. Everything learns from what
lies before the first alone; a user's target is the first item from the cut on, the history what stands before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.columns import Split, TrainCut
from semconv.data.store import Sequences, TimeCuts
from semconv.errors import InputError, SettingsError
from semconv.ragged import kept_offsets, offsets_of, position_of, row_of

MIN_EVALUATED_LENGTH = 3
CUT_AT_END = {"[:-2]": 2, "[:-1]": 1, "[:]": 0}
HISTORY_WITHOUT = {"valid": 2, "test": 1, "serve": 0}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def train_lengths(sequences: Sequences, train_cut: TrainCut) -> NDArray[np.int64]:
    """How many items of each sequence train, ``(U,)``.

    Without cuts short users keep all of theirs. With them ``[:-2]`` trains on what lies before the validation cut,
    ``[:-1]`` on what lies before the test cut.
    """
    lengths = sequences.lengths
    if sequences.cuts is not None:
        moment = sequences.cuts.of_training(train_cut)
        return lengths if moment is None else _before(sequences, moment)
    return np.where(lengths >= MIN_EVALUATED_LENGTH, lengths - CUT_AT_END[train_cut], lengths)


def history_lengths(sequences: Sequences, split: Split) -> NDArray[np.int64]:
    """How many items of each sequence are history under ``split``, ``(U,)``; -1 where not evaluated.

    With cuts a user is evaluated who has an item before the cut and one from it on; the validation target lies
    before the test cut.
    """
    lengths = sequences.lengths
    if split == "serve":
        return lengths
    if sequences.cuts is None:
        return np.where(lengths >= MIN_EVALUATED_LENGTH, lengths - HISTORY_WITHOUT[split], -1)
    before_test = _before(sequences, sequences.cuts.test)
    before, ends = (
        (before_test, lengths) if split == "test" else (_before(sequences, sequences.cuts.valid), before_test)
    )
    return np.where((before > 0) & (before < ends), before, -1)


def targets(sequences: Sequences, split: Split) -> NDArray[np.int32]:
    """The held-out ``item_index`` of each user under ``valid`` or ``test``, ``(U,)``; -1 where there is none."""
    ends = history_lengths(sequences, split)
    result = np.full(len(ends), -1, dtype=np.int32)
    if split == "serve":
        return result
    evaluated = np.flatnonzero(ends >= 0)
    result[evaluated] = sequences.items[sequences.offsets[evaluated] + ends[evaluated]]
    return result


def cut_in_time(sequences: Sequences, split: Mapping[str, Any]) -> Sequences:
    """The sequences with the cuts that ``split`` asks for, a run's settings of that section; as they are without.

    ``temporal_at`` is a date, or the share of the interactions that lie before the test cut. The validation cut leaves
    the same share of what lies before the test cut before itself: 0.9 tests on the last tenth of the interactions and
    validates on the last tenth of the others.

    Raises:
        SettingsError: ``temporal_at`` is neither.
        InputError: an interaction without a time, or a cut with nothing on one of its sides.
    """
    asked = str(split["temporal_at"])
    if not asked or len(sequences.times) == 0:
        return sequences
    unknown = int((sequences.times == np.iinfo(np.int64).min).sum())
    if unknown:
        raise InputError(
            f"split.temporal_at = {asked} needs a time for every interaction, and {unknown:,} of {len(sequences.times):,}"
            " have none; leave it empty for leave-one-out, or ingest files with event_time"
        )
    times = np.sort(sequences.times)
    test = _moment(asked, times)
    share = float(np.searchsorted(times, test) / len(times))
    valid = int(times[min(int(share * share * len(times)), len(times) - 1)])
    if not times[0] < valid < test <= times[-1]:
        raise InputError(
            f"split.temporal_at = {asked} leaves nothing to train on, to validate with or to test with: the interactions"
            f" run from {_written(int(times[0]))} to {_written(int(times[-1]))}"
        )
    return replace(sequences, cuts=TimeCuts(valid, test))


def written_train_cut(sequences: Sequences, train_cut: TrainCut) -> str:
    """What trained, in words: the train cut, or the moment before which everything did."""
    moment = None if sequences.cuts is None else sequences.cuts.of_training(train_cut)
    return train_cut if moment is None else f"before {_written(moment)}"


def _moment(asked: str, times: NDArray[np.int64]) -> int:
    """Microseconds since 1970 of a date, or of the quantile of the sorted ``times``."""
    try:
        share = float(asked)
    except ValueError:
        pass
    else:
        if not 0 < share < 1:
            raise SettingsError(f"split.temporal_at = {asked}: a share must lie between 0 and 1")
        return int(times[int(share * len(times))])
    try:
        moment = datetime.fromisoformat(asked)
    except ValueError as error:
        raise SettingsError(
            f"split.temporal_at = {asked!r}: must be a date such as 2018-01-01 or a share such as 0.9"
        ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _written(moment: int) -> str:
    return (_EPOCH + timedelta(microseconds=moment)).strftime("%Y-%m-%d %H:%M:%S")


def _before(sequences: Sequences, moment: int) -> NDArray[np.int64]:
    """How many items each sequence has before its first one from a moment on, ``(U,)``."""
    late = offsets_of(sequences.times >= moment)
    starts = late[sequences.offsets[:-1]]
    is_before = late[1:] == np.repeat(starts, sequences.lengths)
    return np.diff(kept_offsets(sequences.offsets, is_before))


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

    Users keep their index; one outside the core has an empty sequence. The core is that of all interactions, with
    cuts in time that of those before the cut: who comes later is not known yet.
    """
    lengths = sequences.lengths
    user_of_row = row_of(lengths)
    keep = position_of(lengths) < np.repeat(train_lengths(sequences, train_cut), lengths)
    counted = np.ones(len(keep), dtype=bool) if sequences.cuts is None else keep
    core = core_masks(user_of_row[counted], sequences.items[counted], len(lengths), num_items, k_core)
    keep &= core[0][user_of_row] & core[1][sequences.items]
    return sequences.select_rows(keep)
