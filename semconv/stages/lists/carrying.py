"""Decide which users keep their lists of an earlier run, and copy the rows of these lists.

Only one Parquet part is in memory at a time, because the lists of all users may not fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import read_arrays, write_arrays
from semconv.data.histories import Histories
from semconv.errors import InputError
from semconv.ragged import find, offsets_of
from semconv.runs.digests import require_file
from semconv.runs.files import LIST_STATES, part_file
from semconv.stages.lists.parts import read_part

_USERS_AT_ONCE = 65_536


@dataclass(frozen=True)
class States:
    """A state for each user of a run: a hash that changes when the user's list may change.

    Attributes:
        users: ``(R,)`` user index, ascending, in the order of the shards.
        states: ``(R,)`` hash of the user's history, of its times and of the codes of its items.
    """

    users: NDArray[np.int32]
    states: NDArray[np.uint64]

    @classmethod
    def read(cls, folder: Path) -> States:
        """Read the states from a run's folder; InputError when they are missing or damaged."""
        require_file(folder / LIST_STATES)
        arrays = read_arrays(folder / LIST_STATES)
        return cls(arrays["users"], arrays["states"])

    def write(self, folder: Path) -> None:
        """Write the states into a run's folder."""
        write_arrays(folder / LIST_STATES, {"users": self.users, "states": self.states})


@dataclass(frozen=True)
class Carried:
    """The lists that users keep from an earlier run.

    Attributes:
        folder: the folder of the earlier run.
        shards: ``(R,)`` the shard of the earlier run that holds a user's list; -1 for users whose list is recomputed.
    """

    folder: Path
    shards: NDArray[np.int32]

    def rows(self, chosen: slice, user_ids: pa.Array) -> list[pa.Table]:
        """Return the rows of the lists that users of one shard keep.

        Args:
            chosen: the shard, as a slice of the R users.
            user_ids: the ids of the shard's users.
        """
        shards = self.shards[chosen]
        tables = []
        for shard in np.unique(shards[shards >= 0]).tolist():
            names = user_ids.filter(pa.array(shards == shard))
            part = read_part(self.folder / part_file(shard))
            tables.append(part.filter(pc.is_in(part.column(columns.USER_ID), value_set=names)))
        return tables


def user_states(users: NDArray[np.int32], histories: Histories, codes: NDArray[np.int64]) -> States:
    """Return a hash of each user's items, their times and their codes; ``codes`` is ``(I, N)``, items by levels.

    If other items than those of the history are masked, the hash also covers the masked items.
    """
    states = np.zeros(len(users), dtype=np.uint64)
    for first in range(0, len(users), _USERS_AT_ONCE):
        some = users[first : first + _USERS_AT_ONCE]
        items, lengths = histories.flat(some)
        item_bytes, code_bytes = items.tobytes(), codes[items].tobytes()
        time_bytes = histories.flat_times(some).tobytes()
        offsets = offsets_of(lengths)
        bounds = np.stack([offsets[:-1], offsets[1:]], axis=1)  # (r, 2)
        sizes = items.itemsize, 8, codes.itemsize * codes.shape[1]  # bytes of an item, a time and the codes of an item
        columns_of = [
            (column, (bounds * size).tolist())
            for column, size in zip((item_bytes, time_bytes, code_bytes), sizes, strict=True)
        ]
        if histories.seen is not None:
            masked, counts = histories.flat_seen(some)
            ends = offsets_of(counts) * masked.itemsize
            columns_of.append((masked.tobytes(), np.stack([ends[:-1], ends[1:]], axis=1).tolist()))
        for row in range(len(some)):
            content = b"".join(column[slice(*of[row])] for column, of in columns_of)
            states[first + row] = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
    return States(users, states)


@dataclass(frozen=True)
class Listable:
    """The items that a kept list may contain.

    Attributes:
        item_ids: ``(L,)`` ids of the items that may be listed.
        user_ids: ``(U,)`` ids by user index.
        all_item_ids: ``(I,)`` ids by item index.
        histories: the histories of all users.
        is_masked: whether lists leave out seen items.
    """

    item_ids: pa.Array
    user_ids: pa.Array
    all_item_ids: pa.Array
    histories: Histories
    is_masked: bool


def carry_over(
    before: Path,
    shard_users: int,
    now: States,
    refresh: NDArray[np.int32] | None,
    listable: Listable,
    say: Callable[[str], None],
) -> tuple[Carried, States]:
    """Decide which users keep their lists of an earlier run; return these lists and the states to store for this run.

    A user may keep a list although the history changed. Then the old state is stored, so a later run recomputes it.

    Args:
        before: the folder of the earlier run.
        shard_users: the number of users in each shard of the earlier run.
        now: the states of the users of this run.
        refresh: the users to recompute, besides new users; None for all users whose state changed.
    """
    try:
        old = States.read(before)
    except InputError as error:
        say(f"{str(error).split(';')[0]}; recomputing the lists of all users")
        old = States(np.zeros(0, np.int32), np.zeros(0, np.uint64))
    row, is_known = find(old.users, now.users)  # (R,)
    was = old.states[row] if len(old.users) else np.zeros(len(now.users), dtype=np.uint64)
    is_same = is_known & (was == now.states)
    keeps = is_same if refresh is None else is_known & ~np.isin(now.users, refresh)
    shards = np.where(keeps, row // shard_users, -1).astype(np.int32)
    for shard in np.unique(shards[keeps]).tolist():
        rows = np.flatnonzero(shards == shard)
        try:
            require_file(before / part_file(shard))
            part = read_part(before / part_file(shard), [columns.USER_ID, columns.ITEM_ID])
        except InputError as error:
            say(f"{error}; recomputing the lists of its {len(rows)} users")
            shards[rows] = -1
            continue
        shards[rows[_must_change(part, now.users[rows], ~is_same[rows], listable)]] = -1
    keeps = shards >= 0
    return Carried(before, shards), replace(now, states=np.where(keeps, was, now.states))


def _must_change(
    part: pa.Table, users: NDArray[np.int32], is_changed: NDArray[np.bool_], listable: Listable
) -> NDArray[np.bool_]:
    """Return whether each user's list in a part holds an item that may not be listed or is in the history, ``(r,)``."""
    listed_by, items = part.column(columns.USER_ID), part.column(columns.ITEM_ID)
    row = _index_in(listed_by, listable.user_ids.take(pa.array(users)))  # (n,) index into users of each row of the part
    is_offending = ~_is_in(items, listable.item_ids)
    changed = np.flatnonzero(is_changed)
    if listable.is_masked and len(changed):
        have, lengths = listable.histories.flat_seen(users[changed])
        size = len(listable.all_item_ids)
        listed = row * size + _index_in(items, listable.all_item_ids)
        is_offending |= np.isin(listed, np.repeat(changed, lengths) * size + have)
    result = np.zeros(len(users), dtype=bool)
    result[row[is_offending & (row >= 0)]] = True
    return result


def _index_in(values: pa.ChunkedArray, of: pa.Array) -> NDArray[np.int64]:
    """Return the index of each value in ``of``, -1 where it is missing."""
    index: NDArray[np.int64] = pc.fill_null(pc.index_in(values, value_set=of), -1).to_numpy().astype(np.int64)
    return index


def _is_in(values: pa.ChunkedArray, of: pa.Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.is_in(values, value_set=of).to_numpy().astype(bool)
    return found
