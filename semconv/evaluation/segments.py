"""Segments of the evaluated users: by history length, and by the held-out item: popularity, cold or warm, reachable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.data.store import Sequences

ALL = "all"
REACHABLE = "reachable target"
KNOWN_TRANSITION = "known transition"
NEW_TRANSITION = "new transition"
NEW_TARGET = "new target"
_HISTORY_STARTS = (1, 5, 10, 20)  # shortest history of each segment; the last one has no upper bound
_POPULARITY_BANDS = 4


@dataclass(frozen=True)
class EvaluatedUsers:
    """The evaluated users, with the properties that divide them into segments.

    Attributes:
        history_lengths: ``(U,)`` number of items in each user's history, before it is shortened for the prompt.
        target_popularity: ``(U,)`` number of counted interactions of each held-out item (``splits.counted_cut``).
        is_cold: ``(U,)`` whether each held-out item has no counted interactions, no codes, or codes from its text.
        is_reachable: ``(U,)`` whether lists can contain each held-out item; None if this is not known.
        has_known_transition: ``(U,)`` whether each held-out item follows the latest item of its history somewhere in
            the counted interactions (``has_known_transition``); None for no segments by transition.
    """

    history_lengths: NDArray[np.int64]
    target_popularity: NDArray[np.int64]
    is_cold: NDArray[np.bool_]
    is_reachable: NDArray[np.bool_] | None = None
    has_known_transition: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.history_lengths)


def draw_users(users: NDArray[np.int32], count: int, seed: int) -> NDArray[np.int32]:
    """Draw ``count`` users at random, in ascending order. Return all users if ``count`` is 0 or too large."""
    if not 0 < count < len(users):
        return users
    chosen = np.random.default_rng(seed).choice(len(users), count, replace=False)
    return users[np.sort(chosen)]


def has_known_transition(
    train: Sequences, latest: NDArray[np.int32], targets: NDArray[np.int32], num_items: int
) -> NDArray[np.bool_]:
    """Return whether some training sequence has the target directly after the latest item of the history, ``(U,)``.

    Args:
        train: the interactions that are counted.
        latest: ``(U,)`` the latest item of each history; -1 for an empty history.
        targets: ``(U,)`` the held-out items.
    """
    is_first = np.zeros(len(train.items) + 1, dtype=bool)
    is_first[train.offsets] = True
    later = np.flatnonzero(~is_first[:-1])
    pairs = np.unique(train.items[later - 1].astype(np.int64) * num_items + train.items[later])
    known = np.isin(latest.astype(np.int64) * num_items + targets, pairs)
    return np.asarray(known & (latest >= 0))


def segments(users: EvaluatedUsers) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield the name and the mask ``(U,)`` of each segment that has users, starting with the segment of all users.

    The segments by popularity are divided at the quartiles of the held-out items' popularity, so each segment has about
    the same number of users. If many held-out items are equally popular, there are fewer segments. The segment of
    reachable held-out items is left out if all are reachable. The segments of known and new transitions leave out
    held-out items without counted interactions, which are the segment of new targets.
    """
    everyone = np.ones(len(users), dtype=bool)
    named = [
        (ALL, everyone),
        *_bands("history", users.history_lengths, _HISTORY_STARTS),
        *_bands("target popularity", users.target_popularity, _popularity_starts(users.target_popularity)),
        ("warm target", ~users.is_cold),
        ("cold target", users.is_cold),
        (NEW_TARGET, users.target_popularity == 0),
    ]
    if users.has_known_transition is not None:
        is_counted = users.target_popularity > 0
        named += [
            (KNOWN_TRANSITION, is_counted & users.has_known_transition),
            (NEW_TRANSITION, is_counted & ~users.has_known_transition),
        ]
    if users.is_reachable is not None and not users.is_reachable.all():
        named.insert(1, (REACHABLE, users.is_reachable))
    yield from ((name, inside) for name, inside in named if inside.any())


def _bands(name: str, values: NDArray[np.int64], starts: tuple[int, ...]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield a name and a mask of users for each range of values, from one start up to the value before the next."""
    for low, high in zip(starts, (*starts[1:], None), strict=True):
        label = f"{low}+" if high is None else f"{low}-{high - 1}" if high - 1 > low else f"{low}"
        yield f"{name} {label}", (values >= low) & (high is None or values < high)


def _popularity_starts(popularity: NDArray[np.int64]) -> tuple[int, ...]:
    """Return 0 and the quartiles of the popularity, without duplicates."""
    if len(popularity) == 0:
        return (0,)
    inner = np.quantile(popularity, np.arange(1, _POPULARITY_BANDS) / _POPULARITY_BANDS, method="higher")
    return tuple(sorted({0, *(int(bound) for bound in inner)}))
