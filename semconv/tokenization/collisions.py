"""Items that share all N codes are separated, so that a code sequence names one item.

The paper counts collisions (its Table 5) and does nothing about them. Here, of the items that share
their codes, the one with the most interactions keeps them; the others, fewest interactions first, take the
nearest free code of the last level, or of the level before where the last is full, and so on upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.config import CodebookSettings
from semconv.tokenization.codebook import code_costs, next_residual

Codes = NDArray[np.uint16]


@dataclass(frozen=True)
class Resolution:
    """Codes after the move."""

    codes: Codes  # (M, N)
    is_moved: NDArray[np.bool_]  # (M,)
    share_before: float  # items that share all codes with another, over all items
    share_after: float


def resolve_collisions(
    vectors: NDArray[np.float32],
    codes: Codes,
    popularity: NDArray[np.int64],
    books: NDArray[np.float32],
    settings: CodebookSettings,
    taken: Codes | None = None,
) -> Resolution:
    """Give every item codes of its own, as far as C^N codes go round; items that find none keep theirs.

    Deterministic: equal popularity is decided by the row, the earlier one keeps its codes.

    Args:
        vectors: ``(M, D)`` what the codes stand for; nearness is measured from their residuals.
        codes: ``(M, N)``.
        popularity: ``(M,)`` interactions.
        books: ``(N, C, D)``.
        taken: ``(T, N)`` codes of items that are published and never move; rows that meet one move.
    """
    frozen = np.zeros((0, codes.shape[1]), dtype=codes.dtype) if taken is None else taken.astype(codes.dtype)
    before = colliding(codes, frozen)
    movers = _movers(codes, popularity, frozen)
    if len(movers) == 0:
        return Resolution(codes.copy(), np.zeros(len(codes), dtype=bool), 0.0, 0.0)
    free = _FreeCodes(np.concatenate([frozen, codes]), books.shape[1])
    new_codes, is_moved = codes.copy(), np.zeros(len(codes), dtype=bool)
    for row in movers:
        found = _nearest_free(vectors[row], codes[row], books, settings, free)
        if found is None:
            break  # not one free code is left
        free.take(found)
        new_codes[row] = found
        is_moved[row] = True
    after = colliding(new_codes, frozen)
    return Resolution(new_codes, is_moved, float(before.mean()), float(after.mean()))


def settle_collisions(
    vectors: NDArray[np.float32],
    codes: Codes,
    popularity: NDArray[np.int64],
    books: NDArray[np.float32],
    settings: CodebookSettings,
) -> Resolution:
    """Items that share all codes moved apart, or left as they are, as ``settings.collisions`` says."""
    if settings.collisions == "resolve":
        return resolve_collisions(vectors, codes, popularity, books, settings)
    share = float(colliding(codes).mean())
    return Resolution(codes, np.zeros(len(codes), dtype=bool), share, share)


def collision_figures(
    vectors: NDArray[np.float32],
    codes: Codes,
    popularity: NDArray[np.int64],
    books: NDArray[np.float32],
    settings: CodebookSettings,
) -> list[dict[str, float]]:
    """Collision rates that the first 1, 2, .. N levels alone would have (paper, Table 5: its CR is ``share_before``).

    Levels are fitted one after the other, so n levels of this set are the set of n levels.

    Args:
        codes: ``(M, N)`` nearest codes, before any was moved.
    """
    figures = []
    for n in range(1, codes.shape[1] + 1):
        share_before = float(colliding(codes[:, :n]).mean())
        moved, share_after = 0.0, share_before
        if settings.collisions == "resolve":
            if books.shape[1] ** n >= len(codes):  # there is a free code for everyone who has to move
                moved, share_after = 1.0 - len(np.unique(codes[:, :n], axis=0)) / len(codes), 0.0
            else:
                resolution = resolve_collisions(vectors, codes[:, :n], popularity, books[:n], settings)
                moved, share_after = float(resolution.is_moved.mean()), resolution.share_after
        figures.append({"levels": n, "share_before": share_before, "share_after": share_after, "moved_share": moved})
    return figures


def colliding(codes: Codes, taken: Codes | None = None) -> NDArray[np.bool_]:
    """``(M,)`` rows whose codes another row, or a row of ``taken``, has too."""
    everything = codes if taken is None else np.concatenate([codes, taken])
    _, inverse, counts = np.unique(everything, axis=0, return_inverse=True, return_counts=True)
    return (counts[inverse.ravel()] > 1)[: len(codes)]


def _movers(codes: Codes, popularity: NDArray[np.int64], frozen: Codes) -> NDArray[np.int64]:
    """Rows that must move, fewest interactions first, later rows first among equals."""
    everything = np.concatenate([frozen, codes])
    _, group = np.unique(everything, axis=0, return_inverse=True)
    # Frozen rows come first in their group, then the most popular; the first of a group stays.
    rank = np.concatenate([np.full(len(frozen), np.iinfo(np.int64).max), popularity.astype(np.int64)])
    order = np.lexsort((np.arange(len(everything)), -rank, group.ravel()))
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = np.diff(group.ravel()[order]) != 0
    stays = np.zeros(len(everything), dtype=bool)
    stays[order[is_first]] = True
    movers = np.flatnonzero(~stays[len(frozen) :])
    return movers[np.lexsort((-movers, popularity[movers]))]


def _nearest_free(
    vector: NDArray[np.float32], codes: Codes, books: NDArray[np.float32], settings: CodebookSettings, free: _FreeCodes
) -> tuple[int, ...] | None:
    levels = len(books)
    residuals = [vector[None]]
    for n in range(levels - 1):
        residuals.append(next_residual(residuals[-1], books[n][codes[n]][None], settings))
    for kept in range(levels - 1, -1, -1):
        prefix = tuple(int(code) for code in codes[:kept])
        if free.is_full(prefix):
            continue
        residual = residuals[kept]
        for n in range(kept, levels):
            costs = np.where(free.full_children(prefix), np.inf, code_costs(residual, books[n], settings)[0])
            code = int(costs.argmin())
            prefix = (*prefix, code)
            residual = next_residual(residual, books[n][code][None], settings)
        return prefix
    return None


class _FreeCodes:
    """Which codes are still free below a prefix; a child is full when nothing below it is free.

    Only prefixes that are asked for are held; what they start from is looked up in sorted tables of full prefixes.
    """

    def __init__(self, taken: Codes, num_codes: int) -> None:
        self._num_codes = num_codes
        self._children: dict[tuple[int, ...], NDArray[np.bool_]] = {}
        self._full = [np.unique(taken, axis=0)]  # sorted rows; one table for each length of prefix, longest first
        while self._full[-1].shape[1] > 1:
            parents, counts = np.unique(self._full[-1][:, :-1], axis=0, return_counts=True)
            self._full.append(parents[counts == num_codes])
        self._full.reverse()

    def full_children(self, prefix: tuple[int, ...]) -> NDArray[np.bool_]:
        """``(C,)`` next codes below which nothing is free."""
        if prefix not in self._children:
            table = self._full[len(prefix)]
            low, high = 0, len(table)
            for column, code in enumerate(prefix):
                part = table[low:high, column]
                low, high = low + int(np.searchsorted(part, code)), low + int(np.searchsorted(part, code, side="right"))
            is_full = np.zeros(self._num_codes, dtype=bool)
            is_full[table[low:high, len(prefix)]] = True
            self._children[prefix] = is_full
        return self._children[prefix]

    def is_full(self, prefix: tuple[int, ...]) -> bool:
        """Whether no free code is left below the prefix."""
        return bool(self.full_children(prefix).all())

    def take(self, codes: tuple[int, ...]) -> None:
        """Mark codes as taken, and every prefix that becomes full with them."""
        for length in range(len(codes) - 1, -1, -1):
            prefix = codes[:length]
            self.full_children(prefix)[codes[length]] = True
            if not self.is_full(prefix):
                break
