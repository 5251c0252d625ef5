"""The code trie on the model's device, asked for many nodes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.inference.trie import CodeTrie


@dataclass(frozen=True)
class Children:
    """The children of nodes ``(B, W)``, F at most each, padded."""

    nodes: Tensor  # (B, W, F) nodes one depth below, 0 where there is none
    codes: Tensor  # (B, W, F) code that leads there
    exists: Tensor  # (B, W, F) bool


@dataclass(frozen=True)
class TrieTensors:
    """Arrays of ``CodeTrie`` as tensors."""

    child_offsets: list[Tensor]
    child_codes: list[Tensor]
    leaf_offsets: list[Tensor]

    @classmethod
    def of(cls, trie: CodeTrie, device: torch.device) -> TrieTensors:
        """Copy a trie to a device."""

        def move(arrays: Sequence[NDArray[np.int64]]) -> list[Tensor]:
            return [torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays]

        return cls(move(trie.child_offsets), move(trie.child_codes), move(trie.leaf_offsets))

    def children(self, nodes: Tensor, depth: int) -> Children:
        """Children of nodes ``(B, W)`` of one depth; F is the largest number any of them has."""
        begin = self.child_offsets[depth][nodes]
        count = self.child_offsets[depth][nodes + 1] - begin
        place = torch.arange(int(count.max()), device=nodes.device)  # (F,)
        exists = place < count[:, :, None]
        below = torch.where(exists, begin[:, :, None] + place, 0)
        return Children(below, self.child_codes[depth][below], exists)
