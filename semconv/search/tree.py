"""One step down the code tree on the model's own forward: many nodes of a user side by side.

All nodes of a step stand at the same position. A node sees the prompt and its own ancestors; nodes
that nobody descends from stay in the cache, masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semconv.backbone.forward import decode_hidden
from semconv.search.prompts import Prefilled


@dataclass
class Tree:
    """What the model has read of a batch: the prompts and the tree's nodes so far.

    Attributes:
        prompts: the prompts.
        fed: cache slots after the prompt that hold nodes.
    """

    prompts: Prefilled
    fed: int = 0

    def descend(self, model: Any, token_ids: Tensor, ancestors: Tensor) -> tuple[Tensor, Tensor]:
        """Read one more level.

        Args:
            model: causal language model in eval mode.
            token_ids: ``(B, W)`` of the new nodes.
            ancestors: ``(B, W, depth - 1)`` slot after the prompt of each node's ancestors.

        Returns:
            hidden states ``(B, W, D)`` of the new nodes, and ``(B, W, depth)`` ancestors with the nodes' own slots.
        """
        batch, width = token_ids.shape
        device, start = token_ids.device, self.prompts.width
        own = torch.arange(self.fed, self.fed + width, device=device).expand(batch, width)  # (B, W)
        line = torch.cat([ancestors, own[:, :, None]], dim=2)  # (B, W, depth)
        mask = torch.zeros((batch, width, start + self.fed + width), dtype=torch.bool, device=device)
        mask[:, :, :start] = self.prompts.visible()
        mask.scatter_(2, line + start, True)
        positions = (self.prompts.lengths + line.shape[2] - 1)[:, None].expand(batch, width)
        hidden = decode_hidden(
            model, token_ids, attention_mask=mask[:, None], position_ids=positions, cache=self.prompts.cache
        )
        self.fed += width
        return hidden, line
