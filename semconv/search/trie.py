"""The code trie: the codes of all items in flat arrays. Every path from the root ends at an item.

The nodes of one depth are numbered in the sorted order of their codes. So the children of a node have consecutive
numbers, and so have the leaves below it. ``trie_file`` saves the arrays to a file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.errors import InputError
from semconv.ragged import offsets_of


@dataclass(frozen=True, eq=False)
class Openness:
    """The items that may be listed, the same for all users.

    Attributes:
        rows: ``(M,)`` whether the item of each row may be listed.
        leaves_below: for each depth d <= N an array ``(nodes_d,)``: how many leaves below each node hold an item that
            may be listed.
    """

    rows: NDArray[np.bool_]
    leaves_below: tuple[NDArray[np.int32], ...]


@dataclass(frozen=True, eq=False)
class CodeTrie:
    """A trie over code sequences of length N. The root has depth 0, the leaves have depth N.

    Each item is one row; rows are sorted by their codes. A leaf is one code sequence and holds one row, or several
    adjacent rows if several items share all codes.

    Attributes:
        row_items: ``(M,)`` item_index of each row; within a leaf the most popular item comes first.
        child_offsets: for each depth d < N an array ``(nodes_d + 1,)``: the children of node j are the nodes
            ``child_offsets[d][j] .. child_offsets[d][j + 1] - 1`` of depth d + 1.
        child_codes: for each depth d < N an array ``(nodes_{d+1},)``: the last code of each node of depth d + 1.
        shared_leaves: ``(s,)`` the leaves that hold several rows, ascending.
        shared_extra: ``(s + 1,)`` for each shared leaf, the sum of (rows - 1) over all earlier shared leaves; the last
            entry is the sum over all shared leaves.
        openness: the items that may be listed, None for all. The other items stay in the trie, and their codes count
            in the normalisation of ``recommend.scores = trie``. So scores do not depend on filters.
    """

    row_items: NDArray[np.int32]
    child_offsets: tuple[NDArray[np.int32], ...]
    child_codes: tuple[NDArray[Any], ...]
    shared_leaves: NDArray[np.int32]
    shared_extra: NDArray[np.int32]
    openness: Openness | None = None

    @classmethod
    def build(cls, codes: NDArray[Any], item_index: NDArray[Any], popularity: NDArray[Any] | None = None) -> CodeTrie:
        """Build a trie with one sort.

        Args:
            codes: ``(M, N)`` integer codes, N at least 1.
            item_index: ``(M,)`` distinct.
            popularity: ``(M,)`` orders items that share all codes, the most popular first. Equally popular items are
                ordered by item_index. With None, all items are ordered by item_index.

        Raises:
            InputError: the shapes disagree, an item has two rows, or a code is negative.
        """
        codes, items = np.asarray(codes), np.asarray(item_index).astype(np.int32)
        if codes.ndim != 2 or codes.shape[1] < 1 or items.shape != codes.shape[:1]:
            raise InputError(f"codes {codes.shape} and item_index {items.shape} do not fit: expected (M, N) and (M,)")
        if len(np.unique(items)) != len(items):
            raise InputError("an item has two rows of codes; each item_index may occur only once")
        if codes.size and codes.min() < 0:
            raise InputError("a code is negative; codes count from 0")
        codes = codes.astype(_smallest_type(int(codes.max(initial=0))), copy=False)
        order = _code_order(codes, _popularity_order(items, popularity))
        return cls._from_sorted(codes[order], items[order])

    @classmethod
    def _from_sorted(cls, codes: NDArray[Any], items: NDArray[np.int32]) -> CodeTrie:
        rows, levels = codes.shape
        begins = np.zeros(min(rows, 1), dtype=np.int32)  # first row of every node of the current depth
        child_offsets, child_codes = [], []
        differs = np.zeros(rows, dtype=bool)
        differs[:1] = True
        for level in range(levels):
            differs[1:] |= codes[1:, level] != codes[:-1, level]
            below = np.flatnonzero(differs).astype(np.int32)
            ends = np.append(begins if rows else np.zeros(1, np.int32), np.int32(rows))
            child_offsets.append(np.searchsorted(below, ends).astype(np.int32))
            child_codes.append(codes[below, level])
            begins = below
        sizes = np.diff(np.append(begins, np.int32(rows)))
        shared = np.flatnonzero(sizes > 1)
        extra = offsets_of(sizes[shared] - 1)
        return cls(items, tuple(child_offsets), tuple(child_codes), shared.astype(np.int32), extra.astype(np.int32))

    @property
    def levels(self) -> int:
        """Number N of levels, which is the number of codes of an item."""
        return len(self.child_codes)

    @property
    def num_leaves(self) -> int:
        """Number of different code sequences."""
        return len(self.child_codes[-1])

    @property
    def num_open(self) -> int:
        """Number of items that may be listed."""
        return len(self) if self.openness is None else int(self.openness.rows.sum())

    @cached_property
    def code_bound(self) -> int:
        """One more than the largest code, 0 without items."""
        return max(int(codes.max()) + 1 if len(codes) else 0 for codes in self.child_codes)

    def __len__(self) -> int:
        return len(self.row_items)

    def restrict(self, allowed: NDArray[np.bool_]) -> CodeTrie:
        """Return the same trie with fewer items that may be listed: only the allowed ones.

        A search never enters a subtree without an allowed item.

        Args:
            allowed: ``(I,)`` whether each item is allowed; items with a larger item_index are not allowed.
        """
        rows = np.zeros(len(self), dtype=bool)
        known = self.row_items < len(allowed)
        rows[known] = allowed[self.row_items[known]]
        if self.openness is not None:
            rows &= self.openness.rows
        first_row = self.first_row(np.arange(self.num_leaves, dtype=np.int32))
        below = [np.logical_or.reduceat(rows, first_row).astype(np.int32) if len(rows) else np.zeros(0, np.int32)]
        for offsets in self.child_offsets[::-1]:
            below.append(np.add.reduceat(below[-1], offsets[:-1]) if len(rows) else np.zeros(1, np.int32))
        return replace(self, openness=Openness(rows, tuple(below[::-1])))

    @cached_property
    def _row_of_item(self) -> NDArray[np.int32]:
        rows = np.full(int(self.row_items.max(initial=-1)) + 1, -1, dtype=np.int32)
        rows[self.row_items] = np.arange(len(self), dtype=np.int32)
        return rows

    def row_of(self, items: NDArray[Any]) -> NDArray[np.int32]:
        """Return the row of each item_index, -1 for an item without codes."""
        table = self._row_of_item
        inside = (items >= 0) & (items < len(table))
        rows = np.full(items.shape, -1, dtype=np.int32)
        rows[inside] = table[items[inside]]
        return rows

    @cached_property
    def _shared_rows(self) -> NDArray[np.int32]:
        return self.shared_leaves + self.shared_extra[:-1]

    def first_row(self, leaves: NDArray[Any]) -> NDArray[np.int32]:
        """Return the first row of each leaf. For ``num_leaves``, one past the last leaf, return the number of rows."""
        leaves = leaves.astype(np.int32, copy=False)
        result: NDArray[np.int32] = leaves + self.shared_extra[np.searchsorted(self.shared_leaves, leaves)]
        return result

    def leaf_of(self, rows: NDArray[Any]) -> NDArray[np.int32]:
        """Return the leaf of each row."""
        rows = rows.astype(np.int32, copy=False)
        if len(self.shared_leaves) == 0:
            return rows
        before = np.searchsorted(self._shared_rows, rows, side="right") - 1
        last = np.maximum(before, 0)
        after = np.maximum(self.shared_leaves[last], rows - self.shared_extra[last + 1])
        return np.where(before >= 0, after, rows).astype(np.int32)

    def paths(self, leaves: NDArray[Any]) -> list[NDArray[np.int32]]:
        """Return for each depth from 1 to N the nodes on the way to ``leaves``; each array has the leaves' shape."""
        nodes = [leaves.astype(np.int32, copy=False)]
        for depth in range(self.levels - 1, 0, -1):
            nodes.append(self.parents(nodes[-1], depth))
        return nodes[::-1]

    def parents(self, nodes: NDArray[np.int32], depth: int) -> NDArray[np.int32]:
        """Return the parents of ``nodes``; the parents have depth ``depth``, the nodes depth + 1."""
        return (np.searchsorted(self.child_offsets[depth], nodes, side="right") - 1).astype(np.int32)


def _smallest_type(largest: int) -> type[np.integer[Any]]:
    """Return the smallest integer type for codes up to ``largest``, of those that torch can use as an index."""
    return np.uint8 if largest < 1 << 8 else np.int16 if largest < 1 << 15 else np.int32


def _popularity_order(items: NDArray[np.int32], popularity: NDArray[Any] | None) -> NDArray[np.int64]:
    if popularity is None:
        return np.argsort(items, kind="stable")
    return np.lexsort((items, -np.asarray(popularity).astype(np.float64)))


def _code_order(codes: NDArray[Any], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows sorted by their codes; rows with equal codes keep the order that ``order`` gives."""
    bits = int(codes.max(initial=0)).bit_length()
    levels = codes.shape[1]
    if bits * levels > 64:
        return order[np.lexsort(codes[order].T[::-1])]
    key: NDArray[Any] = np.zeros(len(codes), dtype=np.uint32 if bits * levels <= 32 else np.uint64)
    for level in range(levels):
        key = (key << bits) | codes[order, level].astype(key.dtype)
    return order[np.argsort(key, kind="stable")]
