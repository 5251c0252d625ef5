"""Incremental tuning: what an earlier tuning has not had, and the share of the rest that an epoch draws again.

An interaction is known by user, item and time; of several that are equal in all three, as they can be where no times
are known, the earlier ones in the sequence count as those of before.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import row_of

if TYPE_CHECKING:
    from semconv.tasks.data import TaskData

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class TunedOn:
    """What a tuning drew its samples from: n interactions of items with codes, and T items with text."""

    offsets: NDArray[np.int64]  # (U + 1,)
    items: NDArray[np.int32]  # (n,) item_index
    times: NDArray[np.int64]  # (n,) microseconds since 1970, the minimum int64 where unknown
    has_query: Bools  # (n,)
    text_items: NDArray[np.int32]  # (T,) item_index

    @classmethod
    def of(cls, data: TaskData) -> TunedOn:
        """That of a tuning on ``data``."""
        has_query = np.zeros(len(data.items), dtype=bool)
        has_query[data.query_rows] = True
        return cls(data.offsets, data.items, data.times, has_query, data.text_items)

    @classmethod
    def nothing(cls) -> TunedOn:
        """That of a tuning of which nothing is known: everything is new to it."""
        rows, items = np.zeros(0, np.int64), np.zeros(0, np.int32)
        return cls(np.zeros(1, np.int64), items, rows, np.zeros(0, bool), items)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By name, as they are kept."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Replay:
    """Which samples are new to an earlier tuning, and how many of the others an epoch draws again.

    Epochs are counted on from those of the earlier tuning, so that one tuning after the other draws something else.
    """

    is_new_row: Bools  # (n,) of TaskData.items
    is_new_text: Bools  # (T,) of TaskData.text_items
    is_new_query: Bools  # (Q,) of TaskData.query_rows
    share: float
    epochs_before: int

    @classmethod
    def since(cls, before: TunedOn, data: TaskData, share: float, epochs_before: int) -> Replay:
        """What of ``data`` is new to a tuning on ``before``; users and items have the same indices in both."""
        place = _places(before, data)  # (n,)
        has_had_query = place >= 0
        has_had_query[has_had_query] = before.has_query[place[has_had_query]]
        is_new_text = ~np.isin(data.text_items, before.text_items)
        return cls(place < 0, is_new_text, ~has_had_query[data.query_rows], share, epochs_before)

    def num_new(self, data: TaskData) -> dict[str, int]:
        """New samples by kind: places of histories, texts and queries; the first of a user's items has no history."""
        starts = data.offsets[:-1][np.diff(data.offsets) > 0]
        places = self.is_new_row.sum() - self.is_new_row[starts].sum()
        return {"places": int(places), "texts": int(self.is_new_text.sum()), "queries": int(self.is_new_query.sum())}

    def drawn_rows(self, user: NDArray[np.int64], num_users: int, rng: np.random.Generator) -> Bools:
        """``(n,)`` rows an epoch may ask about: the new ones, and all of a drawn user, whose samples share a history."""
        return self.is_new_row | (rng.random(num_users) < self.share)[user]

    def drawn_texts(self, rng: np.random.Generator) -> Bools:
        """``(T + Q,)`` text and query samples of an epoch: the new ones, and others that are drawn one by one."""
        is_new = np.concatenate([self.is_new_text, self.is_new_query])
        return is_new | (rng.random(len(is_new)) < self.share)


def _places(before: TunedOn, data: TaskData) -> NDArray[np.int64]:
    """``(n,)`` for each row of ``data`` its row in ``before``, -1 where it has none."""
    num_before = len(before.items)
    found = np.full(len(data.items), -1, dtype=np.int64)
    if num_before == 0 or len(found) == 0:
        return found
    users = [row_of(np.diff(part.offsets)) for part in (before, data)]
    keys = (
        np.concatenate([before.times, data.times]),
        np.concatenate([before.items, data.items]),
        np.concatenate(users),
    )
    is_now = np.arange(num_before + len(found)) >= num_before
    order = np.lexsort((is_now, *keys))  # equal interactions side by side, those of before first, each in its order
    differs = [key[order][1:] != key[order][:-1] for key in keys]
    begin = np.flatnonzero(np.concatenate([[True], np.logical_or.reduce(differs)]))  # (G,) of each group of equals
    sizes = np.diff(np.append(begin, len(order)))
    num_known = np.add.reduceat(~is_now[order], begin, dtype=np.int64)  # (G,)
    rank = np.arange(len(order)) - np.repeat(begin + num_known, sizes)  # of a row of now among its equals
    is_known = (rank >= 0) & (rank < np.repeat(num_known, sizes))
    found[order[is_known] - num_before] = order[(np.repeat(begin, sizes) + rank)[is_known]]
    return found
