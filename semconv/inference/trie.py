"""The trie of existing items' codes as flat arrays, so that every beam ends at an item.

Nodes of one depth are numbered in the sorted order of their codes. The children of a node and the
leaves below it are therefore ranges, and whether a user has any leaf left below a node is two binary
searches. There is no table per node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.errors import InputError


@dataclass(frozen=True)
class CodeTrie:
    """Compressed rows; depth 0 is the root, depth N the leaves.

    Attributes:
        row_codes: ``(M, N)`` codes of every item, sorted.
        row_items: ``(M,)`` item_index, within one leaf the most popular first.
        child_offsets: per depth d < N ``(nodes_d + 1,)``: children of node j are the nodes
            ``child_offsets[d][j] .. child_offsets[d][j + 1] - 1`` of depth d + 1.
        child_codes: per depth d < N ``(nodes_{d+1},)``: the code that leads into each node of depth d + 1.
        leaf_offsets: per depth d <= N ``(nodes_d + 1,)``: range of leaves below each node.
        item_offsets: ``(L + 1,)`` range of rows of each leaf.
    """

    row_codes: NDArray[np.int64]
    row_items: NDArray[np.int32]
    child_offsets: tuple[NDArray[np.int64], ...]
    child_codes: tuple[NDArray[np.int64], ...]
    leaf_offsets: tuple[NDArray[np.int64], ...]
    item_offsets: NDArray[np.int64]

    @classmethod
    def build(cls, codes: NDArray[Any], item_index: NDArray[Any], popularity: NDArray[Any] | None = None) -> CodeTrie:
        """Build by one sort.

        Args:
            codes: ``(M, N)`` integer codes, N at least 1.
            item_index: ``(M,)`` distinct.
            popularity: ``(M,)`` orders items that share all codes, most popular first; ties and None by item_index.

        Raises:
            InputError: shapes disagree, an item comes twice, or a code is negative.
        """
        codes = np.asarray(codes).astype(np.int64)
        items = np.asarray(item_index).astype(np.int32)
        if codes.ndim != 2 or codes.shape[1] < 1 or items.shape != codes.shape[:1]:
            raise InputError(f"codes {codes.shape} and item_index {items.shape} do not fit: expected (M, N) and (M,)")
        if len(np.unique(items)) != len(items):
            raise InputError("an item has two rows of codes; each item_index may come once")
        if codes.size and codes.min() < 0:
            raise InputError("a code is negative; codes count from 0")
        popular = np.zeros(len(items)) if popularity is None else np.asarray(popularity)
        order = np.lexsort((items, -popular.astype(np.float64), *codes.T[::-1]))
        return cls._from_sorted(codes[order], items[order])

    @classmethod
    def _from_sorted(cls, codes: NDArray[np.int64], items: NDArray[np.int32]) -> CodeTrie:
        rows, levels = codes.shape
        begins = [np.zeros(min(rows, 1), dtype=np.int64)]  # first row of every node, per depth
        differs = np.zeros(rows, dtype=bool)
        differs[:1] = True
        for level in range(levels):
            differs[1:] |= codes[1:, level] != codes[:-1, level]
            begins.append(np.flatnonzero(differs))
        if rows == 0:
            begins[0] = np.zeros(1, dtype=np.int64)
        leaves = begins[-1]
        ends = [np.append(begin, rows) for begin in begins]
        return cls(
            row_codes=codes,
            row_items=items,
            child_offsets=tuple(np.searchsorted(begins[d + 1], ends[d]) for d in range(levels)),
            child_codes=tuple(codes[begins[d + 1], d] for d in range(levels)),
            leaf_offsets=tuple(np.searchsorted(leaves, end) for end in ends),
            item_offsets=ends[-1],
        )

    @property
    def levels(self) -> int:
        """Number N of codes an item."""
        return int(self.row_codes.shape[1])

    @property
    def num_leaves(self) -> int:
        """Number L of different code sequences."""
        return len(self.item_offsets) - 1

    def __len__(self) -> int:
        return len(self.row_items)

    def restrict(self, allowed: NDArray[np.bool_]) -> CodeTrie:
        """The trie of the allowed items alone; a subtree without any of them is gone.

        Args:
            allowed: ``(I,)`` by item_index; items past its end are not allowed.
        """
        known = self.row_items < len(allowed)
        keep = np.zeros(len(self), dtype=bool)
        keep[known] = allowed[self.row_items[known]]
        return self._from_sorted(self.row_codes[keep], self.row_items[keep])

    def row_of_item(self, size: int) -> NDArray[np.int64]:
        """``(size,)`` row of each item_index below ``size``, -1 where it has none."""
        rows = np.full(size, -1, dtype=np.int64)
        inside = self.row_items < size
        rows[self.row_items[inside]] = np.flatnonzero(inside)
        return rows

    def code_table(self, size: int) -> NDArray[np.int64]:
        """``(size, N)`` codes of each item_index below ``size``, -1 in the rows of items that are not here."""
        rows = self.row_of_item(size)
        table: NDArray[np.int64] = np.where(rows[:, None] >= 0, self.row_codes[rows], -1)
        return table

    def leaf_of_row(self) -> NDArray[np.int64]:
        """``(M,)`` leaf of each row."""
        return np.repeat(np.arange(self.num_leaves), np.diff(self.item_offsets))
