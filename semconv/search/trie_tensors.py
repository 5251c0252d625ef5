"""The code trie as tensors on the model's device. On a CPU the tensors share the memory of the arrays."""

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
    """The children of nodes ``(B, W)``, padded to F children for each node."""

    nodes: Tensor  # (B, W, F) the children, as nodes of the next depth; 0 for padding
    codes: Tensor  # (B, W, F) the code that leads to each child
    exists: Tensor  # (B, W, F) bool, False for padding


@dataclass(frozen=True)
class TrieTensors:
    """The arrays of a ``CodeTrie`` as tensors of the same types."""

    child_offsets: list[Tensor]
    child_codes: list[Tensor]
    is_open: list[Tensor] | None  # for each depth (nodes_d,): may an item below be listed; None: all may

    @classmethod
    def of(cls, trie: CodeTrie, device: torch.device) -> TrieTensors:
        """Move the arrays of a trie to a device."""

        def move(arrays: Sequence[NDArray[Any]]) -> list[Tensor]:
            return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]

        openness = trie.openness
        is_open = None if openness is None else move([below > 0 for below in openness.leaves_below])
        return cls(move(trie.child_offsets), move(trie.child_codes), is_open)

    def children(self, nodes: Tensor, depth: int) -> Children:
        """Return the children of nodes ``(B, W)`` of one depth; F is the largest number of children of a node."""
        begin = self.child_offsets[depth][nodes].long()
        count = self.child_offsets[depth][nodes + 1] - begin
        step = torch.arange(int(count.max()), device=nodes.device)  # (F,)
        exists = step < count[:, :, None]
        below = torch.where(exists, begin[:, :, None] + step, 0)
        return Children(below, self.child_codes[depth][below].long(), exists)

    def may_enter(self, children: Children, depth: int) -> Tensor:
        """Return ``(B, W, F)``: whether an item at or below each child may be listed; the parents have ``depth``."""
        return children.exists if self.is_open is None else children.exists & self.is_open[depth + 1][children.nodes]

    def has_branches(self, nodes: Tensor, depth: int) -> Tensor:
        """Return whether each node of one depth has more than one leaf below it."""
        low, high = nodes, nodes + 1
        for offsets in self.child_offsets[depth:]:
            low, high = offsets[low].long(), offsets[high].long()
        return high - low > 1
