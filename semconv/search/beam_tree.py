"""Prompts that the model has read, and after each prompt nodes of the code trie, many side by side.

All nodes of one step have the same position in the sequence. A node attends to its prompt and to its own ancestors.
Nodes without descendants stay in the cache, where later nodes do not attend to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semconv.backbone.forward import decode_hidden


@dataclass
class BeamTree:
    """A batch of B prompts in the model's cache, and the nodes that were read after them."""

    model: Any
    cache: Any
    lengths: Tensor  # (B,) tokens of each prompt
    width: int  # P, cache slots that the padded prompts fill
    last_hidden: Tensor  # (B, D) hidden state of each prompt's last token
    num_read: int = 0  # cache slots that nodes fill

    def read_nodes(self, token_ids: Tensor, ancestors: Tensor) -> tuple[Tensor, Tensor]:
        """Read one more node for each path.

        Args:
            token_ids: ``(B, W)`` tokens of the new nodes.
            ancestors: ``(B, W, depth - 1)`` cache slots, counted after the prompt, of each node's ancestors.

        Returns:
            hidden states ``(B, W, D)`` of the new nodes, and ``(B, W, depth)`` their ancestors and own slots.
        """
        batch, width = token_ids.shape
        device, stop = token_ids.device, self.num_read + width
        own = torch.arange(self.num_read, stop, device=device).expand(batch, width)  # (B, W)
        path = torch.cat([ancestors, own[:, :, None]], dim=2)  # (B, W, depth)
        mask = torch.zeros((batch, width, self.width + stop), dtype=torch.bool, device=device)
        mask[:, :, : self.width] = torch.arange(self.width, device=device) < self.lengths[:, None, None]
        mask.scatter_(2, path + self.width, True)
        positions = (self.lengths + path.shape[2] - 1)[:, None].expand(batch, width)
        hidden = decode_hidden(
            self.model, token_ids, attention_mask=mask[:, None], position_ids=positions, cache=self.cache
        )
        self.num_read = stop
        return hidden, path

    def rewind(self) -> None:
        """Remove all nodes, so that others can be read after the same prompts."""
        for layer in self.cache.layers:
            layer.rewind(self.width)
        self.num_read = 0
