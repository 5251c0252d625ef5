"""The code trie on the model's device, asked for many nodes at once; on a CPU the tensors are the trie's own memory."""

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
    """The children of nodes ``(B, W)``, F at most each, padded."""

    nodes: Tensor  # (B, W, F) nodes one depth below, 0 where there is none
    codes: Tensor  # (B, W, F) code that leads there
    exists: Tensor  # (B, W, F) bool


@dataclass(frozen=True)
class TrieTensors:
    """Arrays of ``CodeTrie`` as tensors of their own types."""

    child_offsets: list[Tensor]
    child_codes: list[Tensor]
    is_open: list[Tensor] | None  # per depth (nodes_d,) whether an item below may be listed, None for all

    @classmethod
    def of(cls, trie: CodeTrie, device: torch.device) -> TrieTensors:
        """Put a trie on a device."""

        def move(arrays: Sequence[NDArray[Any]]) -> list[Tensor]:
            return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]

        openness = trie.openness
        is_open = None if openness is None else move([below > 0 for below in openness.leaves_below])
        return cls(move(trie.child_offsets), move(trie.child_codes), is_open)

    def children(self, nodes: Tensor, depth: int) -> Children:
        """Children of nodes ``(B, W)`` of one depth; F is the largest number any of them has."""
        begin = self.child_offsets[depth][nodes].long()
        count = self.child_offsets[depth][nodes + 1] - begin
        place = torch.arange(int(count.max()), device=nodes.device)  # (F,)
        exists = place < count[:, :, None]
        below = torch.where(exists, begin[:, :, None] + place, 0)
        return Children(below, self.child_codes[depth][below].long(), exists)

    def may_enter(self, children: Children, depth: int) -> Tensor:
        """``(B, W, F)`` children, of nodes of ``depth``, with an item below that may be listed to somebody."""
        return children.exists if self.is_open is None else children.exists & self.is_open[depth + 1][children.nodes]

    def has_branches(self, nodes: Tensor, depth: int) -> Tensor:
        """Whether more than one leaf lies below each node of one depth."""
        low, high = nodes, nodes + 1
        for offsets in self.child_offsets[depth:]:
            low, high = offsets[low].long(), offsets[high].long()
        return high - low > 1
