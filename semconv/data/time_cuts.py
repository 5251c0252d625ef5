"""The moments at which a split in time cuts all sequences (docs/method.md, Evaluation)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.columns import TrainCut
from semconv.data.store import UNKNOWN_TIME, Sequences, TimeCuts
from semconv.errors import InputError, SettingsError
from semconv.ragged import kept_offsets, offsets_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cut_in_time(sequences: Sequences, split: Mapping[str, Any]) -> Sequences:
    """Return the sequences with the cuts in time that the settings section ``split`` of a run asks for.

    ``temporal_at`` is empty (no cuts), a date, or the share of the interactions that lie before the test cut. The
    validation cut splits the interactions before the test cut by the same share. With 0.9, the last tenth of all
    interactions is for the test, and the last tenth of the remaining interactions is for validation.

    Only users whose interactions all have a time are counted.

    Raises:
        SettingsError: ``temporal_at`` is neither a date nor a share.
        InputError: no user has a time for every interaction, or no interaction lies before the cuts, between them or
            after them.
    """
    asked = str(split["temporal_at"])
    if not asked or len(sequences.times) == 0:
        return sequences
    times = np.sort(sequences.times[np.repeat(dated_users(sequences), sequences.lengths)])
    if len(times) == 0:
        raise InputError(
            f"split.temporal_at = {asked} needs users whose interactions all have a time, and there are none; leave it"
            " empty for leave-one-out, or ingest files with event_time"
        )
    test = _moment(asked, times)
    share = float(np.searchsorted(times, test) / len(times))
    valid = int(times[min(int(share * share * len(times)), len(times) - 1)])
    if not times[0] < valid < test <= times[-1]:
        raise InputError(
            f"split.temporal_at = {asked} leaves nothing to train on, to validate with or to test with; choose a time"
            f" within the interactions, which run from {written_moment(int(times[0]))} to {written_moment(int(times[-1]))}"
        )
    return replace(sequences, cuts=TimeCuts(valid, test))


def dated_users(sequences: Sequences) -> NDArray[np.bool_]:
    """Return whether every interaction of a user has a time, ``(U,)``; a user without interactions counts as dated."""
    unknown = np.diff(offsets_of(sequences.times == UNKNOWN_TIME)[sequences.offsets])
    return np.asarray(unknown == 0, dtype=bool)


def train_cut_text(sequences: Sequences, train_cut: TrainCut) -> str:
    """Return the train cut as reports show it: for example ``[:-2]``, or ``before`` and a date for a split in time."""
    moment = None if sequences.cuts is None else sequences.cuts.of_training(train_cut)
    return train_cut if moment is None else f"before {written_moment(moment)}"


def _moment(asked: str, times: NDArray[np.int64]) -> int:
    """Return the test cut in microseconds since 1970: the date itself, or that quantile of ``times`` if it is a share."""
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


def written_moment(moment: int) -> str:
    """Return a moment, in microseconds since 1970, as messages and reports show it."""
    return (_EPOCH + timedelta(microseconds=moment)).strftime("%Y-%m-%d %H:%M:%S")


def lengths_before(sequences: Sequences, moment: int) -> NDArray[np.int64]:
    """Return the number of items of each sequence before its first item at or after a moment, ``(U,)``."""
    late = offsets_of(sequences.times >= moment)
    starts = late[sequences.offsets[:-1]]
    is_before = late[1:] == np.repeat(starts, sequences.lengths)
    return np.diff(kept_offsets(sequences.offsets, is_before))
