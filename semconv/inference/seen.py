"""Which leaves and items are closed to each user of a batch, answered without a loop over users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.inference.trie import CodeTrie


@dataclass(frozen=True)
class SeenItems:
    """Seen items of B users as sorted keys ``user * size + place``.

    A leaf is closed when all its items are seen. Leaves below a node are a range, so the number of
    closed ones is the distance of two binary searches.
    """

    trie: CodeTrie
    rows: NDArray[np.int64]  # (s,) sorted user * M + trie row
    closed: Tensor | None  # (c,) sorted user * L + leaf, None when nothing is closed

    @classmethod
    def of(cls, trie: CodeTrie, seen: Sequence[NDArray[Any]] | None, device: torch.device) -> SeenItems:
        """Look the items up in the trie; items that are not in it matter to nobody."""
        if seen is None or not any(len(items) for items in seen):
            return cls(trie, np.zeros(0, dtype=np.int64), None)
        users = np.repeat(np.arange(len(seen)), [len(items) for items in seen])
        items = np.concatenate([np.asarray(items, dtype=np.int64) for items in seen])
        row_of_item = trie.row_of_item(int(items.max()) + 1)
        rows = np.where(items >= 0, row_of_item[items], -1)
        known = rows >= 0
        keys = np.unique(users[known] * len(trie) + rows[known])
        leaf_keys, counts = np.unique(
            keys // len(trie) * trie.num_leaves + trie.leaf_of_row()[keys % len(trie)], return_counts=True
        )
        sizes = np.diff(trie.item_offsets)
        closed = leaf_keys[counts == sizes[leaf_keys % trie.num_leaves]]
        return cls(trie, keys, torch.from_numpy(closed).to(device) if len(closed) else None)

    def has_left(self, nodes: Tensor, leaf_offsets: Tensor) -> Tensor:
        """Whether a leaf below each node is open to its user.

        Args:
            nodes: ``(B, W, F)`` nodes of one depth, row b belongs to user b.
            leaf_offsets: ``(nodes_d + 1,)`` of that depth.
        """
        if self.closed is None:
            return torch.ones_like(nodes, dtype=torch.bool)
        users = torch.arange(len(nodes), device=nodes.device)[:, None, None] * self.trie.num_leaves
        low, high = leaf_offsets[nodes], leaf_offsets[nodes + 1]
        closed = torch.searchsorted(self.closed, users + high) - torch.searchsorted(self.closed, users + low)
        return closed < high - low

    def expand(
        self, leaves: NDArray[np.int64], scores: NDArray[np.float32], top_k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Leaves ``(B, W)`` in rank order -> items and scores ``(B, K)``, kept collisions side by side, most popular first."""
        offsets = self.trie.item_offsets
        counts = np.where(np.isneginf(scores), 0, offsets[leaves + 1] - offsets[leaves]).ravel()
        beam = np.repeat(np.arange(leaves.size), counts)  # one entry an item
        within = np.arange(len(beam)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = offsets[leaves.ravel()[beam]] + within
        users = beam // leaves.shape[1]
        keys = users * len(self.trie) + rows
        place = np.minimum(np.searchsorted(self.rows, keys), max(len(self.rows) - 1, 0))
        new = self.rows[place] != keys if len(self.rows) else np.ones(len(keys), dtype=bool)
        users, rows, beam = users[new], rows[new], beam[new]
        rank = np.arange(len(users)) - np.searchsorted(users, users)
        first = rank < top_k
        items = np.full((len(leaves), top_k), -1, dtype=np.int32)
        result = np.full((len(leaves), top_k), -np.inf, dtype=np.float32)
        items[users[first], rank[first]] = self.trie.row_items[rows[first]]
        result[users[first], rank[first]] = scores.ravel()[beam[first]]
        return items, result
