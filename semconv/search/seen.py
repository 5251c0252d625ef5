"""The items that each user of a batch has seen, and the nodes of the trie that are closed to the user for that reason.

A node is closed to a user if the user has seen all items below it that may be listed. A search does not enter closed
nodes. The code works on arrays of all users of a batch, without a loop over users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.ragged import find, lengths_of, position_among_equal, ranges, row_of
from semconv.search.trie import CodeTrie

# Elements of the table (closed nodes, beams) that is compared in one step.
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class ClosedNodes:
    """Pairs of a user and a node of one depth that is closed to this user."""

    users: Tensor  # (c,) row of the user in the batch
    parents: Tensor  # (c,) the node's parent, one depth above
    children: Tensor  # (c,) which child of the parent the node is, from 0


@dataclass(frozen=True)
class SeenItems:
    """The seen items of B users, as sorted keys ``user * M + row of the trie``, and the nodes that they close."""

    trie: CodeTrie
    keys: NDArray[np.int64]  # (s,) ascending
    closed: list[ClosedNodes | None]  # entry d < N: the closed nodes of depth d + 1

    @classmethod
    def of(cls, trie: CodeTrie, seen: Sequence[NDArray[Any]] | None, device: torch.device) -> SeenItems:
        """Look up seen items in the trie; items without codes and items that may not be listed are ignored."""
        nothing = cls(trie, np.zeros(0, dtype=np.int64), [None] * trie.levels)
        if seen is None or not any(len(items) for items in seen):
            return nothing
        rows = trie.row_of(np.concatenate([np.asarray(items, dtype=np.int64) for items in seen]))
        matters = rows >= 0
        if trie.openness is not None:
            matters &= trie.openness.rows[rows]
        keys = np.unique(row_of(lengths_of(seen))[matters] * len(trie) + rows[matters])
        return cls(trie, keys, _closed_nodes(trie, keys, device)) if len(keys) else nothing

    def close(self, scores: Tensor, nodes: Tensor, depth: int) -> None:
        """Set the scores of closed nodes to -inf.

        Args:
            scores: ``(B, W, F)`` scores of the children of ``nodes``, changed in place.
            nodes: ``(B, W)`` nodes of ``depth``.
        """
        closed = self.closed[depth]
        if closed is None:
            return
        block = max(1, _BLOCK_ELEMENTS // nodes.shape[1])
        parts = (torch.split(tensor, block) for tensor in (closed.users, closed.parents, closed.children))
        for users, parents, children in zip(*parts, strict=True):
            entry, beam = (nodes[users] == parents[:, None]).nonzero(as_tuple=True)  # of (c, W)
            scores[users[entry], beam, children[entry]] = -torch.inf

    def expand(
        self, leaves: NDArray[np.int64], scores: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the first ``count`` items of each user and their scores, from leaves ``(B, W)``, best first.

        Items that share all codes share a leaf and its score; the most popular comes first. Seen items are left out.
        """
        trie = self.trie
        first_row, end_row = trie.first_row(leaves), trie.first_row(leaves + 1)
        num_rows = np.where(np.isneginf(scores), 0, end_row - first_row).ravel()
        leaf, rows = row_of(num_rows), ranges(first_row.ravel(), num_rows)  # one entry an item
        users = leaf // leaves.shape[1]
        left = ~find(self.keys, users * len(trie) + rows)[1]
        if trie.openness is not None:
            left &= trie.openness.rows[rows]
        users, rows, leaf = users[left], rows[left], leaf[left]
        column = position_among_equal(users)
        first = column < count
        items = np.full((len(leaves), count), -1, dtype=np.int32)
        result = np.full((len(leaves), count), -np.inf, dtype=np.float32)
        items[users[first], column[first]] = trie.row_items[rows[first]]
        result[users[first], column[first]] = scores.ravel()[leaf[first]]
        return items, result


def _closed_nodes(trie: CodeTrie, keys: NDArray[np.int64], device: torch.device) -> list[ClosedNodes | None]:
    """Return the closed nodes of each depth, computed from the leaves up.

    A leaf is closed if the user has seen all its items that may be listed. A node is closed if every leaf
    below it is closed or holds no item that may be listed.
    """
    users, rows = keys // len(trie), (keys % len(trie)).astype(np.int32)
    leaves = trie.leaf_of(rows)
    pairs, seen_rows = np.unique(users * trie.num_leaves + leaves, return_counts=True)
    users, leaves = pairs // trie.num_leaves, (pairs % trie.num_leaves).astype(np.int32)
    is_closed = seen_rows == _open_rows(trie, leaves)
    users, nodes = users[is_closed], leaves[is_closed]
    closed_leaves = np.ones(len(users), dtype=np.int64)  # number of closed leaves below each node
    result: list[ClosedNodes | None] = []
    for depth in range(trie.levels - 1, -1, -1):
        size = len(trie.child_codes[depth])
        pairs, pair = np.unique(users * size + nodes, return_inverse=True)
        closed_leaves = np.bincount(pair, closed_leaves, len(pairs))
        users, nodes = pairs // size, (pairs % size).astype(np.int32)
        parents = trie.parents(nodes, depth)
        is_closed = closed_leaves == _open_leaves(trie, nodes, depth + 1)
        children = nodes - trie.child_offsets[depth][parents]
        parts = (torch.from_numpy(part[is_closed].astype(np.int64)).to(device) for part in (users, parents, children))
        result.append(ClosedNodes(*parts) if is_closed.any() else None)
        nodes = parents
    return result[::-1]


def _open_rows(trie: CodeTrie, leaves: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return how many items of each leaf may be listed."""
    first, end = trie.first_row(leaves), trie.first_row(leaves + 1)
    if trie.openness is None:
        return (end - first).astype(np.int64)
    is_open = trie.openness.rows[ranges(first, end - first)]
    return np.bincount(row_of(end - first), is_open, len(leaves)).astype(np.int64)


def _open_leaves(trie: CodeTrie, nodes: NDArray[np.int32], depth: int) -> NDArray[np.int64]:
    """Return how many leaves below each node of one depth hold an item that may be listed."""
    if trie.openness is not None:
        return trie.openness.leaves_below[depth][nodes].astype(np.int64)
    low, high = nodes, nodes + 1
    for offsets in trie.child_offsets[depth:]:
        low, high = offsets[low], offsets[high]
    return (high - low).astype(np.int64)
