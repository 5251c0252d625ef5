"""Collisions: give items that share all N codes different codes, so that each code sequence belongs to one item.

The paper counts collisions (its Table 5) but does not resolve them. In semconv, the item with the most interactions
keeps the shared codes. Each of the other items moves to the nearest free code of the last level; items with the fewest
interactions move first. If no code of the last level is free, the item moves to the nearest free code of the level
before, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.settings.codebook import CodebookSettings
from semconv.tokenization.codebook import code_costs, next_residual
from semconv.tokenization.kmeans import Codes, Floats


@dataclass(frozen=True)
class Resolution:
    """The codes of M items after collisions were resolved or kept."""

    codes: Codes  # (M, N)
    is_moved: NDArray[np.bool_]  # (M,)
    share_before: float  # share of the items that had the same codes as another item
    share_after: float


def resolve_collisions(
    vectors: Floats,
    codes: Codes,
    popularity: NDArray[np.int64],
    books: Floats,
    settings: CodebookSettings,
    taken: Codes | None = None,
) -> Resolution:
    """Move items to free codes until no two items share all codes, or no free code is left.

    The result is deterministic: of equally popular items, the item in the earlier row keeps its codes.

    Args:
        vectors: ``(M, D)`` the quantised vectors; distances to codes are measured from their residuals.
        codes: ``(M, N)``.
        popularity: ``(M,)`` interactions.
        books: ``(N, C, D)``.
        taken: ``(T, N)`` published codes of other items; these never change, and items that share them move.
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
    for row, residual in zip(movers, last, strict=True):
        found = _nearest_free(vectors[row], residual, codes[row].tolist(), books, settings, free)
        if found is None:
            break  # no free code is left
        free.take(found)
        new_codes[row] = found
        is_moved[row] = True
    after = colliding(new_codes, frozen)
    return Resolution(new_codes, is_moved, float(before.mean()), float(after.mean()))


def settle_collisions(
    vectors: Floats,
    codes: Codes,
    popularity: NDArray[np.int64],
    books: Floats,
    settings: CodebookSettings,
) -> Resolution:
    """Resolve collisions, or keep and count them, depending on ``settings.collisions``."""
    if settings.collisions == "resolve":
        return resolve_collisions(vectors, codes, popularity, books, settings)
    share = float(colliding(codes).mean())
    return Resolution(codes, np.zeros(len(codes), dtype=bool), share, share)


def collision_figures(
    vectors: Floats,
    codes: Codes,
    popularity: NDArray[np.int64],
    books: Floats,
    settings: CodebookSettings,
) -> list[dict[str, float]]:
    """Return the collision rates of the first n levels, for each n from 1 to N.

    Levels are fitted one after the other, so the first n levels are the same as in a fit with n levels.
    ``share_before`` is the collision rate CR of the paper's Table 5.

    Args:
        codes: ``(M, N)`` nearest codes, before collisions are resolved.
    """
    figures = []
    for n in range(1, codes.shape[1] + 1):
        groups = _Groups(codes[:, :n])
        share_before = float(groups.is_shared().mean())
        moved, share_after = 0.0, share_before
        if settings.collisions == "resolve":
            free = books.shape[1] ** n - groups.count
            stays = np.ones(len(codes), dtype=bool)
            stays[_movers(groups, popularity)[:free]] = False  # items move in this order as long as codes are free
            has_room = books.shape[1] ** n >= len(codes)
            moved = 1.0 - groups.count / len(codes) if has_room else float((~stays).mean())
            share_after = float(colliding(codes[stays, :n]).sum() / len(codes))
        figures.append({"levels": n, "share_before": share_before, "share_after": share_after, "moved_share": moved})
    return figures


def collision_rates(codes: Codes) -> tuple[float, float]:
    """Return two collision rates of the codes ``(M, N)`` of all items, as in the paper's Table 5.

    The paper defines its rate as the share of the items that have the same codes as another item, the first number.
    Other papers report 1 - (number of different code sequences) / (number of items), the second number.
    """
    groups = _Groups(codes)
    return float(groups.is_shared().mean()), 1.0 - groups.count / len(codes)


def colliding(codes: Codes, taken: Codes | None = None) -> NDArray[np.bool_]:
    """Return a mask ``(M,)`` of the rows that share all codes with another row, or with a row of ``taken``."""
    return _Groups(codes if taken is None else np.concatenate([codes, taken])).is_shared()[: len(codes)]


def code_keys(codes: Codes) -> NDArray[np.int64]:
    """Return one number for each row of codes, ``(M,)``. Numbers are equal for equal rows, and sort in the same order.

    Sorting numbers is about ten times as fast as sorting rows, and needs no copy of the rows.
    """
    keys, size = np.zeros(len(codes), dtype=np.int64), 1
    for column in codes.T if len(codes) else ():
        base = int(column.max()) + 1
        if size > np.iinfo(np.int64).max // base:  # the keys would overflow, so number the different keys instead
            keys = np.unique(keys, return_inverse=True)[1].ravel()
            size = len(codes)
        keys *= base
        keys += column
        size *= base
    return keys


class _Groups:
    """Rows ``(M, N)`` grouped by equal codes."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes
        keys = code_keys(codes)
        self.order = np.argsort(keys, kind="stable")  # (M,) rows by their codes, then by row number
        keys = keys[self.order]
        self.is_first = np.ones(len(codes), dtype=bool)  # (M,) first row of its group, in that order
        np.not_equal(keys[1:], keys[:-1], out=self.is_first[1:])
        self.count = int(self.is_first.sum())

    def _is_shared(self) -> NDArray[np.bool_]:
        """Return a mask ``(M,)`` of the rows that share their codes with another row, sorted like ``self.order``."""
        is_last = np.append(self.is_first[1:], True)
        is_alone: NDArray[np.bool_] = self.is_first & is_last
        return ~is_alone

    def is_shared(self) -> NDArray[np.bool_]:
        """Return a mask ``(M,)`` of the rows that share their codes with another row."""
        flags = np.empty(len(self.order), dtype=bool)
        flags[self.order] = self._is_shared()
        return flags

    def shared(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows ``(S,)`` that share their codes with another row, and the number of each row's group."""
        positions = np.flatnonzero(self._is_shared())
        return self.order[positions], np.cumsum(self.is_first[positions])

    def distinct(self) -> Codes:
        """Return every different code sequence once, sorted."""
        return self._codes[self.order[self.is_first]]


def _movers(groups: _Groups, popularity: NDArray[np.int64], num_frozen: int = 0) -> NDArray[np.int64]:
    """Return the rows whose items must move: fewest interactions first, and of equally popular items the later row.

    The first ``num_frozen`` rows never move. Row numbers in the result count from the first row after the frozen rows.
    """
    rows, group = groups.shared()
    # In each group the frozen rows come first, then the most popular items. The first row of a group stays.
    is_frozen = rows < num_frozen
    rank = np.full(len(rows), np.iinfo(np.int64).max)
    rank[~is_frozen] = popularity[rows[~is_frozen] - num_frozen]
    order = np.lexsort((rows, -rank, group))
    rows, group = rows[order], group[order]
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = np.diff(group) != 0
    movers = np.sort(rows[~is_first & (rows >= num_frozen)] - num_frozen)
    return movers[np.lexsort((-movers, popularity[movers]))]


def _residuals(vectors: Floats, codes: Codes, books: Floats, settings: CodebookSettings) -> Floats:
    """Return the residuals ``(n, D)`` of vectors after their first K codes ``(n, K)`` are subtracted."""
    for n in range(codes.shape[1]):
        vectors = next_residual(vectors, books[n][codes[:, n]], settings)
    return vectors


def _nearest_free(
    vector: Floats,
    last: Floats,
    codes: list[int],
    books: Floats,
    settings: CodebookSettings,
    free: _FreeCodes,
) -> list[int] | None:
    """Return the nearest free code sequence that keeps as many first ``codes`` as possible, or None if none is free.

    Args:
        vector: ``(D,)``.
        last: ``(D,)`` residual of the vector after all codes except the last.
    """
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
    """The code sequences that no item has yet. A prefix of codes is full if no free sequence begins with it.

    Only prefixes that were looked up are kept in memory. The first look-up of a prefix searches sorted tables of full
    prefixes.
    """

    def __init__(self, taken: Codes, num_codes: int) -> None:
        """Mark the code sequences in ``taken`` as taken; its rows are distinct and sorted."""
        self._num_codes = num_codes
        self._children: dict[tuple[int, ...], NDArray[np.bool_]] = {}
        tables = [taken]  # sorted rows; one table for each length of prefix, longest first
        while tables[-1].shape[1] > 1:
            parents = _Groups(tables[-1][:, :-1])
            sizes = np.diff(np.append(np.flatnonzero(parents.is_first), len(parents.order)))
            tables.append(parents.distinct()[sizes == num_codes])
        self._full = [np.ascontiguousarray(table.T) for table in reversed(tables)]  # columns are searched one by one

    def full_children(self, prefix: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return a mask ``(C,)`` of the codes c for which the prefix, followed by c, is full."""
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
        """Return whether no free code sequence begins with the prefix."""
        return bool(self.full_children(prefix).all())

    def take(self, codes: list[int]) -> None:
        """Mark a code sequence as taken, and mark those of its prefixes that become full."""
        for length in range(len(codes) - 1, -1, -1):
            prefix = tuple(codes[:length])
            self.full_children(prefix)[codes[length]] = True
            if not self.is_full(prefix):
                break
