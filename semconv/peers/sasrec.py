"""SASRec (Kang & McAuley 2018), trained with the full softmax.

As in the paper it has causal self-attention over the latest items, learned positions, and item vectors that are both
input and output. Three things differ: the loss is the cross-entropy over all items instead of one drawn negative, which
makes SASRec much stronger; blocks normalise before each part; and positions count from the end.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semconv.peers.network import AttentionBlock, PeerNetwork, without_empty_columns
from semconv.peers.settings import PeerSettings


class Sasrec(PeerNetwork):
    """Item vectors, positions and blocks. ``forward`` returns the state after every item."""

    def __init__(self, num_items: int, settings: PeerSettings) -> None:
        super().__init__(settings)
        width = settings.width
        self.items = nn.Embedding(num_items, width)
        self.positions = nn.Embedding(settings.history, width)  # the last row belongs to the latest item
        self.blocks = nn.ModuleList(AttentionBlock(settings, nn.ReLU(), width) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(settings.dropout)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def labels_of(self, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the number of labels of each window: every item but the first."""
        return (lengths - 1).astype(np.float64)

    def examples(self, windows: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the items of a window, each with its successor as the label."""
        windows = without_empty_columns(windows)
        inputs, following = windows[:, :-1], windows[:, 1:]
        return inputs, torch.where(inputs >= 0, following, -1)

    def last_states(self, histories: Tensor) -> Tensor:
        """Return the state after the latest item."""
        states: Tensor = self(histories)[:, -1]
        return states

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the states ``(B, L, D)`` of histories ``(B, L)`` of item_index, -1 before their start."""
        length, is_item = inputs.shape[1], inputs >= 0
        scale = self.items.embedding_dim**0.5
        hidden = self.items(inputs.clamp_min(0)) * scale + self.positions.weight[-length:]  # (B, L, D)
        hidden = self.dropout(hidden) * is_item[:, :, None]
        causal = torch.ones(length, length, dtype=torch.bool, device=inputs.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=inputs.device)  # so that every row has a key
        mask = causal & (is_item[:, None, :] | itself)  # (B, L, L)
        for block in self.blocks:
            hidden = block(hidden, mask[:, None])
        states: Tensor = self.norm(hidden)
        return states
