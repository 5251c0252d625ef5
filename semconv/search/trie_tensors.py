"""The code trie on the model's device, where many nodes are looked up at once. On a CPU the arrays are not copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.search.trie import CodeTrie


@dataclass(frozen=True)
class Children:
    """The children of nodes ``(B, W)``, padded to F children a node."""

    nodes: Tensor  # (B, W, F) nodes one depth below, 0 in the padding
    codes: Tensor  # (B, W, F) the code that leads to each child
    exists: Tensor  # (B, W, F) bool, False in the padding


@dataclass(frozen=True)
class TrieTensors:
    """The arrays of a ``CodeTrie`` as tensors of the same types."""

    child_offsets: list[Tensor]
    child_codes: list[Tensor]
    is_open: list[Tensor] | None  # for each depth (nodes_d,) whether an item below may be listed, None for all

    @classmethod
    def of(cls, trie: CodeTrie, device: torch.device) -> TrieTensors:
        """Put a trie on a device."""

        def move(arrays: Sequence[NDArray[Any]]) -> list[Tensor]:
            return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]

        openness = trie.openness
        is_open = None if openness is None else move([below > 0 for below in openness.leaves_below])
        return cls(move(trie.child_offsets), move(trie.child_codes), is_open)

    def children(self, nodes: Tensor, depth: int) -> Children:
        """Return the children of nodes ``(B, W)`` of one depth; F is the largest number of children."""
        begin = self.child_offsets[depth][nodes].long()
        count = self.child_offsets[depth][nodes + 1] - begin
        step = torch.arange(int(count.max()), device=nodes.device)  # (F,)
        exists = step < count[:, :, None]
        below = torch.where(exists, begin[:, :, None] + step, 0)
        return Children(below, self.child_codes[depth][below].long(), exists)

    def may_enter(self, children: Children, depth: int) -> Tensor:
        """Mark ``(B, W, F)`` the children of nodes of ``depth`` below which an item may be listed."""
        return children.exists if self.is_open is None else children.exists & self.is_open[depth + 1][children.nodes]

    def has_branches(self, nodes: Tensor, depth: int) -> Tensor:
        """Mark the nodes of one depth that have more than one leaf below them."""
        low, high = nodes, nodes + 1
        for offsets in self.child_offsets[depth:]:
            low, high = offsets[low].long(), offsets[high].long()
        return high - low > 1
