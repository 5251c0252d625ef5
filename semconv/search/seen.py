"""Which leaves and items are closed to each user of a batch, answered without a loop over users."""

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

_NEVER = -torch.inf
# Elements of one table of closed nodes by beams.
_BLOCK_ELEMENTS = 1 << 22


@dataclass(frozen=True)
class ClosedNodes:
    """Nodes of one depth, each closed to one user, though an item below may be listed to others."""

    users: Tensor  # (c,) row of the batch
    parents: Tensor  # (c,) node one depth above
    places: Tensor  # (c,) which child of it


@dataclass(frozen=True)
class SeenItems:
    """Seen items of B users as sorted keys ``user * M + row``, and the nodes that they close.

    A leaf is closed to a user who has seen all its items that may be listed; so is a node whose leaves are.
    """

    trie: CodeTrie
    rows: NDArray[np.int64]  # (s,) sorted user * M + row
    closed: list[ClosedNodes | None]  # per depth d < N of depth d + 1

    @classmethod
    def of(cls, trie: CodeTrie, seen: Sequence[NDArray[Any]] | None, device: torch.device) -> SeenItems:
        """Look the items up in the trie; items that are not in it, or closed to all, matter to nobody."""
        nothing = cls(trie, np.zeros(0, dtype=np.int64), [None] * trie.levels)
        if seen is None or not any(len(items) for items in seen):
            return nothing
        users = row_of(lengths_of(seen))
        rows = trie.row_of(np.concatenate([np.asarray(items, dtype=np.int64) for items in seen]))
        matters = rows >= 0
        if trie.openness is not None:
            matters &= trie.openness.rows[rows]
        keys = np.unique(users[matters] * len(trie) + rows[matters])
        return cls(trie, keys, _closed_nodes(trie, keys, device)) if len(keys) else nothing

    def close(self, scores: Tensor, nodes: Tensor, depth: int) -> None:
        """Set to -inf what leads to nodes that are closed to a user.

        Args:
            scores: ``(B, W, F)`` of the children of ``nodes``, changed in place.
            nodes: ``(B, W)`` of ``depth``.
        """
        closed = self.closed[depth]
        if closed is None:
            return
        block = max(1, _BLOCK_ELEMENTS // nodes.shape[1])
        parts = (torch.split(tensor, block) for tensor in (closed.users, closed.parents, closed.places))
        for users, parents, places in zip(*parts, strict=True):
            entry, beam = (nodes[users] == parents[:, None]).nonzero(as_tuple=True)  # of (c, W)
            scores[users[entry], beam, places[entry]] = _NEVER

    def expand(
        self, leaves: NDArray[np.int64], scores: NDArray[np.float32], top_k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Leaves ``(B, W)`` in rank order -> items and scores ``(B, K)``, kept collisions side by side, most popular first."""
        trie = self.trie
        first_row, end_row = trie.first_row(leaves), trie.first_row(leaves + 1)
        counts = np.where(np.isneginf(scores), 0, end_row - first_row).ravel()
        beam, rows = row_of(counts), ranges(first_row.ravel(), counts)  # one entry an item
        users = beam // leaves.shape[1]
        new = ~find(self.rows, users * len(trie) + rows)[1]
        if trie.openness is not None:
            new &= trie.openness.rows[rows]
        users, rows, beam = users[new], rows[new], beam[new]
        rank = position_among_equal(users)
        first = rank < top_k
        items = np.full((len(leaves), top_k), -1, dtype=np.int32)
        result = np.full((len(leaves), top_k), -np.inf, dtype=np.float32)
        items[users[first], rank[first]] = trie.row_items[rows[first]]
        result[users[first], rank[first]] = scores.ravel()[beam[first]]
        return items, result


def _closed_nodes(trie: CodeTrie, keys: NDArray[np.int64], device: torch.device) -> list[ClosedNodes | None]:
    """From the leaves up: a node is closed when as many of its leaves are as hold an item that may be listed."""
    users, rows = keys // len(trie), (keys % len(trie)).astype(np.int32)
    leaves = trie.leaf_of(rows)
    pairs, seen_rows = np.unique(users * trie.num_leaves + leaves, return_counts=True)
    users, leaves = pairs // trie.num_leaves, (pairs % trie.num_leaves).astype(np.int32)
    shut = seen_rows == _open_rows(trie, leaves)
    users, leaves = users[shut], leaves[shut]
    result: list[ClosedNodes | None] = []
    whole_subtree = np.ones(len(users), dtype=np.int64)
    nodes = leaves
    for depth in range(trie.levels - 1, -1, -1):
        size = len(trie.child_codes[depth])
        pairs, place = np.unique(users * size + nodes, return_inverse=True)
        closed_leaves = np.bincount(place, whole_subtree, len(pairs))
        users, nodes = pairs // size, (pairs % size).astype(np.int32)
        parents = (np.searchsorted(trie.child_offsets[depth], nodes, side="right") - 1).astype(np.int32)
        shut = closed_leaves == _open_leaves(trie, nodes, depth + 1)
        places = nodes - trie.child_offsets[depth][parents]
        parts = (torch.from_numpy(part[shut].astype(np.int64)).to(device) for part in (users, parents, places))
        result.append(ClosedNodes(*parts) if shut.any() else None)
        nodes, whole_subtree = parents, closed_leaves
    return result[::-1]


def _open_rows(trie: CodeTrie, leaves: NDArray[np.int32]) -> NDArray[np.int64]:
    """Items of each leaf that may be listed."""
    first, end = trie.first_row(leaves), trie.first_row(leaves + 1)
    if trie.openness is None:
        return (end - first).astype(np.int64)
    is_open = trie.openness.rows[ranges(first, end - first)]
    return np.bincount(row_of(end - first), is_open, len(leaves)).astype(np.int64)


def _open_leaves(trie: CodeTrie, nodes: NDArray[np.int32], depth: int) -> NDArray[np.int64]:
    """Leaves below each node of one depth that hold an item that may be listed."""
    if trie.openness is not None:
        return trie.openness.leaves_below[depth][nodes].astype(np.int64)
    low, high = nodes, nodes + 1
    for offsets in trie.child_offsets[depth:]:
        low, high = offsets[low], offsets[high]
    return (high - low).astype(np.int64)
