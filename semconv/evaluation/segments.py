"""Who is evaluated together: users of like histories, of targets of like popularity, of cold and of warm targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.settings.evaluate import EvaluateSettings

ALL = "all"
# Bounds of the history-length segments; the last one is open.
_HISTORY_STARTS = (1, 5, 10, 20)
_POPULARITY_BANDS = 4


@dataclass(frozen=True)
class Evaluated:
    """The users who are evaluated and what is known of each.

    Attributes:
        history_lengths: ``(U,)`` items of each user's history before it is cut for the prompt.
        target_popularity: ``(U,)`` training interactions of each target.
        is_cold: ``(U,)`` targets without training interactions, without codes, or coded from their text.
    """

    history_lengths: NDArray[np.int64]
    target_popularity: NDArray[np.int64]
    is_cold: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.history_lengths)


def sample_users(users: NDArray[np.int32], settings: EvaluateSettings) -> NDArray[np.int32]:
    """A fixed sample of ``max_users`` users in their order, all when it is 0 or larger than their number."""
    return draw_users(users, settings.max_users, settings.seed)


def draw_users(users: NDArray[np.int32], count: int, seed: int) -> NDArray[np.int32]:
    """``count`` of the users in their order, all of them when it is 0 or larger than their number."""
    if not 0 < count < len(users):
        return users
    chosen = np.random.default_rng(seed).choice(len(users), count, replace=False)
    return users[np.sort(chosen)]


def segments(users: Evaluated) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Names and ``(U,)`` masks; all users first, then each division of them. Empty segments are left out.

    Popularity is divided at the quartiles of the targets, so that the bands hold about equally many users; where many
    targets are equally popular there are fewer bands.
    """
    everybody = np.ones(len(users), dtype=bool)
    named = [
        (ALL, everybody),
        *_bands("history", users.history_lengths, _HISTORY_STARTS),
        *_bands("target popularity", users.target_popularity, _popularity_starts(users.target_popularity)),
        ("warm target", ~users.is_cold),
        ("cold target", users.is_cold),
    ]
    yield from ((name, inside) for name, inside in named if inside.any())


def _bands(name: str, values: NDArray[np.int64], starts: tuple[int, ...]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for low, high in zip(starts, (*starts[1:], None), strict=True):
        label = f"{low}+" if high is None else f"{low}-{high - 1}" if high - 1 > low else f"{low}"
        yield f"{name} {label}", (values >= low) & (high is None or values < high)


def _popularity_starts(popularity: NDArray[np.int64]) -> tuple[int, ...]:
    if len(popularity) == 0:
        return (0,)
    inner = np.quantile(popularity, np.arange(1, _POPULARITY_BANDS) / _POPULARITY_BANDS, method="higher")
    return tuple(sorted({0, *(int(bound) for bound in inner)}))
