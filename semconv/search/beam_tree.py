"""The beams of a search as trees in the model's key-value cache: the prompt is the root, each code token is a node.

One pass of the model reads the newest token of every beam of a prompt. All these tokens have the same position in the
sequence. A token attends to its prompt and to the earlier tokens of its own beam, its ancestors. Tokens of dropped
beams stay in the cache, but later tokens do not attend to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semconv.backbone.forward import decode_hidden


@dataclass
class BeamTree:
    """A batch of B prompts in the model's cache, and the code tokens (nodes) that the model read after them."""

    model: Any
    cache: Any
    lengths: Tensor  # (B,) tokens of each prompt
    width: int  # P, number of cache slots that each padded prompt fills
    last_hidden: Tensor  # (B, D) hidden state of each prompt's last token
    num_read: int = 0  # number of cache slots that the nodes of a prompt fill

    def read_nodes(self, token_ids: Tensor, ancestors: Tensor) -> tuple[Tensor, Tensor]:
        """Read one more code token for each of W beams of each prompt.

        Args:
            token_ids: ``(B, W)`` the new tokens.
            ancestors: ``(B, W, depth - 1)`` cache slots of the earlier tokens of each beam; slot 0 follows the prompt.

        Returns:
            hidden states ``(B, W, D)`` of the new tokens, and ``(B, W, depth)`` the slots of all tokens of each beam.
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
        """Remove all nodes, so that the model can read new ones after the same prompts."""
        for layer in self.cache.layers:
            layer.rewind(self.width)
        self.num_read = 0
