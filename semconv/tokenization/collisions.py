"""Items that share all N codes are separated, so that a code sequence names one item.

The paper counts collisions (its Table 5) and does nothing about them. Here, of the items that share
their codes, the one with the most interactions keeps them; the others, fewest interactions first, take the
nearest free code of the last level, or of the level before where the last is full, and so on upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.settings.codebook import CodebookSettings
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
    groups = _Groups(np.concatenate([frozen, codes]))
    movers = _movers(groups, popularity, len(frozen))
    if len(movers) == 0:
        return Resolution(codes.copy(), np.zeros(len(codes), dtype=bool), 0.0, 0.0)
    before = groups.is_shared()[len(frozen) :]
    free = _FreeCodes(groups.distinct(), books.shape[1])
    new_codes, is_moved = codes.copy(), np.zeros(len(codes), dtype=bool)
    last = _residuals(vectors[movers], codes[movers, :-1], books, settings)  # (movers, D)
    for place, row in enumerate(movers):
        found = _nearest_free(vectors[row], last[place], codes[row].tolist(), books, settings, free)
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
        groups = _Groups(codes[:, :n])
        share_before = float(groups.is_shared().mean())
        moved, share_after = 0.0, share_before
        if settings.collisions == "resolve":
            free = books.shape[1] ** n - groups.count
            stays = np.ones(len(codes), dtype=bool)
            stays[_movers(groups, popularity)[:free]] = False  # whoever comes while a code is free finds it
            has_room = books.shape[1] ** n >= len(codes)
            moved = 1.0 - groups.count / len(codes) if has_room else float((~stays).mean())
            share_after = float(colliding(codes[stays, :n]).sum() / len(codes))
        figures.append({"levels": n, "share_before": share_before, "share_after": share_after, "moved_share": moved})
    return figures


def colliding(codes: Codes, taken: Codes | None = None) -> NDArray[np.bool_]:
    """``(M,)`` rows whose codes another row, or a row of ``taken``, has too."""
    return _Groups(codes if taken is None else np.concatenate([codes, taken])).is_shared()[: len(codes)]


def code_keys(codes: Codes) -> NDArray[np.int64]:
    """One number a row, ``(M,)``, equal for equal rows and in the order of the rows compared code by code.

    Sorting numbers is some ten times as fast as sorting rows, and takes no copy of them.
    """
    keys, room = np.zeros(len(codes), dtype=np.int64), 1
    for column in codes.T if len(codes) else ():
        base = int(column.max()) + 1
        if room > np.iinfo(np.int64).max // base:  # more places than a number has: ranks are as good, and fewer
            keys = np.unique(keys, return_inverse=True)[1].ravel()
            room = len(codes)
        keys *= base
        keys += column
        room *= base
    return keys


class _Groups:
    """Rows ``(M, N)`` of equal codes side by side."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        keys = code_keys(codes)
        self.order = np.argsort(keys, kind="stable")  # (M,) rows by their codes, then by their place
        keys = keys[self.order]
        self.is_first = np.ones(len(codes), dtype=bool)  # (M,) of its group, in that order
        np.not_equal(keys[1:], keys[:-1], out=self.is_first[1:])
        self.count = int(self.is_first.sum())

    def _is_shared(self) -> NDArray[np.bool_]:
        """``(M,)`` in the groups' order."""
        is_last = np.append(self.is_first[1:], True)
        is_alone: NDArray[np.bool_] = self.is_first & is_last
        return ~is_alone

    def is_shared(self) -> NDArray[np.bool_]:
        """``(M,)`` rows that are not alone with their codes."""
        flags = np.empty(len(self.order), dtype=bool)
        flags[self.order] = self._is_shared()
        return flags

    def shared(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows ``(S,)`` that are not alone, and a number for the group of each."""
        places = np.flatnonzero(self._is_shared())
        return self.order[places], np.cumsum(self.is_first[places])

    def distinct(self) -> Codes:
        """Sorted rows without repetition."""
        return self._codes[self.order[self.is_first]]


def _movers(groups: _Groups, popularity: NDArray[np.int64], num_frozen: int = 0) -> NDArray[np.int64]:
    """Rows, counted after the frozen ones, that must move: fewest interactions first, later rows first among equals."""
    rows, group = groups.shared()
    # Frozen rows come first in their group, then the most popular; the first of a group stays.
    is_frozen = rows < num_frozen
    rank = np.full(len(rows), np.iinfo(np.int64).max)
    rank[~is_frozen] = popularity[rows[~is_frozen] - num_frozen]
    order = np.lexsort((rows, -rank, group))
    rows, group = rows[order], group[order]
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = np.diff(group) != 0
    movers = np.sort(rows[~is_first & (rows >= num_frozen)] - num_frozen)
    return movers[np.lexsort((-movers, popularity[movers]))]


def _residuals(
    vectors: NDArray[np.float32], codes: Codes, books: NDArray[np.float32], settings: CodebookSettings
) -> NDArray[np.float32]:
    """What the first codes ``(n, K)`` leave of the vectors, ``(n, D)``."""
    for n in range(codes.shape[1]):
        vectors = next_residual(vectors, books[n][codes[:, n]], settings)
    return vectors


def _nearest_free(
    vector: NDArray[np.float32],
    last: NDArray[np.float32],
    codes: list[int],
    books: NDArray[np.float32],
    settings: CodebookSettings,
    free: _FreeCodes,
) -> list[int] | None:
    """Codes under the longest prefix that has room; ``last`` is what all codes but the last leave of the ``vector``."""
    levels = len(books)
    for kept in range(levels - 1, -1, -1):
        found = codes[:kept]
        if free.is_full(tuple(found)):
            continue
        is_last = kept == levels - 1
        own = np.array([found], dtype=np.uint16).reshape(1, kept)
        residual = last[None] if is_last else _residuals(vector[None], own, books, settings)
        for n in range(kept, levels):
            costs = code_costs(residual, books[n], settings)[0]
            costs[free.full_children(tuple(found))] = np.inf
            found.append(int(costs.argmin()))
            if n + 1 < levels:
                residual = next_residual(residual, books[n][found[-1]][None], settings)
        return found
    return None


class _FreeCodes:
    """Which codes are still free below a prefix; a child is full when nothing below it is free.

    Only prefixes that are asked for are held; what they start from is looked up in sorted tables of full prefixes.
    """

    def __init__(self, taken: Codes, num_codes: int) -> None:
        """``taken``: sorted rows without repetition."""
        self._num_codes = num_codes
        self._children: dict[tuple[int, ...], NDArray[np.bool_]] = {}
        tables = [taken]  # sorted rows; one table for each length of prefix, longest first
        while tables[-1].shape[1] > 1:
            parents = _Groups(tables[-1][:, :-1])
            sizes = np.diff(np.append(np.flatnonzero(parents.is_first), len(parents.order)))
            tables.append(parents.distinct()[sizes == num_codes])
        self._full = [np.ascontiguousarray(table.T) for table in reversed(tables)]  # a column is searched at a time

    def full_children(self, prefix: tuple[int, ...]) -> NDArray[np.bool_]:
        """``(C,)`` next codes below which nothing is free."""
        if prefix not in self._children:
            table = self._full[len(prefix)]
            low, high = 0, table.shape[1]
            for column, number in enumerate(prefix):
                part, code = table[column, low:high], table.dtype.type(number)  # another type would copy the column
                low, high = low + int(part.searchsorted(code)), low + int(part.searchsorted(code, side="right"))
            is_full = np.zeros(self._num_codes, dtype=bool)
            is_full[table[len(prefix), low:high]] = True
            self._children[prefix] = is_full
        return self._children[prefix]

    def is_full(self, prefix: tuple[int, ...]) -> bool:
        """Whether no free code is left below the prefix."""
        return bool(self.full_children(prefix).all())

    def take(self, codes: list[int]) -> None:
        """Mark codes as taken, and every prefix that becomes full with them."""
        for length in range(len(codes) - 1, -1, -1):
            prefix = tuple(codes[:length])
            self.full_children(prefix)[codes[length]] = True
            if not self.is_full(prefix):
                break
