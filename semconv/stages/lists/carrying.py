"""Users who keep the lists of the run before: who they are, and the rows of theirs, part by part.

Nothing here holds more than one part's rows: the lists of all users are many times larger than what
decides about them.
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
    """What the lists of a run belong to, user by user.

    Attributes:
        users: ``(R,)`` user_index, ascending, in the order of the shards.
        states: ``(R,)`` hash of what a user's list depends on besides model and filters.
    """

    users: NDArray[np.int32]
    states: NDArray[np.uint64]

    @classmethod
    def read(cls, folder: Path) -> States:
        """Those of a run's folder; InputError when they are missing or damaged."""
        require_file(folder / LIST_STATES)
        arrays = read_arrays(folder / LIST_STATES)
        return cls(arrays["users"], arrays["states"])

    def write(self, folder: Path) -> None:
        """Put them into a run's folder."""
        write_arrays(folder / LIST_STATES, {"users": self.users, "states": self.states})


@dataclass(frozen=True)
class Carried:
    """Lists that a run takes over from the one before.

    Attributes:
        folder: of the run before.
        places: ``(R,)`` shard of the run before that holds a user's list, -1 for users whose list is computed.
    """

    folder: Path
    places: NDArray[np.int32]

    def rows(self, chosen: slice, user_ids: pa.Array) -> list[pa.Table]:
        """Rows of the users of one shard, ``chosen`` of R, who keep their lists; ``user_ids`` are those of the shard."""
        places = self.places[chosen]
        tables = []
        for place in np.unique(places[places >= 0]).tolist():
            names = user_ids.filter(pa.array(places == place))
            part = read_part(self.folder / part_file(place))
            tables.append(part.filter(pc.is_in(part.column(columns.USER_ID), value_set=names)))
        return tables


def user_states(users: NDArray[np.int32], histories: Histories, codes: NDArray[np.int64]) -> States:
    """States of users: a hash of each history and of its items' codes ``(I, N)``."""
    states = np.zeros(len(users), dtype=np.uint64)
    for first in range(0, len(users), _USERS_AT_ONCE):
        some = users[first : first + _USERS_AT_ONCE]
        items, lengths = histories.flat(some)
        item_bytes, code_bytes = items.tobytes(), codes[items].tobytes()
        offsets = offsets_of(lengths)
        bounds = np.stack([offsets[:-1], offsets[1:]], axis=1)  # (r, 2)
        of_items, of_codes = bounds * items.itemsize, bounds * codes.itemsize * codes.shape[1]
        for row, ((start, end), (code_start, code_end)) in enumerate(
            zip(of_items.tolist(), of_codes.tolist(), strict=True), first
        ):
            content = item_bytes[start:end] + code_bytes[code_start:code_end]
            states[row] = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
    return States(users, states)


@dataclass(frozen=True)
class Listable:
    """What may stand in a list that is carried over.

    Attributes:
        item_ids: ``(L,)`` items that can be listed at all.
        user_ids: ``(U,)`` by user_index.
        all_item_ids: ``(I,)`` by item_index.
        histories: of all users.
        is_masked: whether an item of a user's history may not be in their list.
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
    """Who keeps the list of the run before, and the states that all lists then belong to.

    A user who keeps a list although their history changed keeps the old state too, or nobody would ever
    look at them again.

    Args:
        before: folder of the run before, whose shards hold ``shard_users`` users each.
        now: states of the users of this run.
        refresh: recompute these users and new ones alone; None: all whose state changed.
    """
    try:
        old = States.read(before)
    except InputError as error:
        say(f"{str(error).split(';')[0]}; the lists of all users are computed anew")
        old = States(np.zeros(0, np.int32), np.zeros(0, np.uint64))
    row, is_known = find(old.users, now.users)  # (R,)
    was = old.states[row] if len(old.users) else np.zeros(len(now.users), dtype=np.uint64)
    is_same = is_known & (was == now.states)
    keeps = is_same if refresh is None else is_known & ~np.isin(now.users, refresh)
    places = np.where(keeps, row // shard_users, -1).astype(np.int32)
    for place in np.unique(places[keeps]).tolist():
        rows = np.flatnonzero(places == place)
        try:
            require_file(before / part_file(place))
            part = read_part(before / part_file(place), [columns.USER_ID, columns.ITEM_ID])
        except InputError as error:
            say(f"{error}; its {len(rows)} users are computed anew")
            places[rows] = -1
            continue
        places[rows[_may_not_stay(part, now.users[rows], ~is_same[rows], listable)]] = -1
    keeps = places >= 0
    return Carried(before, places), replace(now, states=np.where(keeps, was, now.states))


def _may_not_stay(
    part: pa.Table, users: NDArray[np.int32], is_changed: NDArray[np.bool_], listable: Listable
) -> NDArray[np.bool_]:
    """Which of the users with lists in this part are offered what is gone, or what they have by now, ``(r,)``."""
    listed_by, items = part.column(columns.USER_ID), part.column(columns.ITEM_ID)
    row = _index_in(listed_by, listable.user_ids.take(pa.array(users)))  # (n,) of each row of the part
    is_offending = ~_is_in(items, listable.item_ids)
    changed = np.flatnonzero(is_changed)
    if listable.is_masked and len(changed):
        have, lengths = listable.histories.flat(users[changed])
        size = len(listable.all_item_ids)
        listed = row * size + _index_in(items, listable.all_item_ids)
        is_offending |= np.isin(listed, np.repeat(changed, lengths) * size + have)
    result = np.zeros(len(users), dtype=bool)
    result[row[is_offending & (row >= 0)]] = True
    return result


def _index_in(values: pa.ChunkedArray, of: pa.Array) -> NDArray[np.int64]:
    """Place of each value in ``of``, -1 where it is not there."""
    places: NDArray[np.int64] = pc.fill_null(pc.index_in(values, value_set=of), -1).to_numpy().astype(np.int64)
    return places


def _is_in(values: pa.ChunkedArray, of: pa.Array) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.is_in(values, value_set=of).to_numpy().astype(bool)
    return found
