"""BERT4Rec (Sun et al. 2019), trained with the full softmax.

Self-attention sees both sides of an item. In training, some items of a window are replaced by a mask token, and the
network predicts them. To rank items, a mask token follows the history. As in the paper, some training windows have
only their last item masked, because that is what ranking asks for. Blocks normalise before each part, and positions
count from the end.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from semconv.peers.network import AttentionBlock, PeerNetwork, without_empty_columns
from semconv.peers.settings import PeerSettings

_LAST_SHARE = 0.2  # of the windows that have only their last item masked


class Bert4rec(PeerNetwork):
    """Item vectors with one more row for the mask token, positions and blocks."""

    passes: ClassVar[int] = 4  # a window has about a fifth of SASRec's labels, so an epoch reads it several times

    def __init__(self, num_items: int, settings: PeerSettings) -> None:
        super().__init__(settings)
        width = settings.width
        self.num_items = num_items
        self.items = nn.Embedding(num_items + 1, width)  # the last row belongs to the mask token
        self.positions = nn.Embedding(settings.history + 1, width)  # the last row belongs to the latest item
        self.blocks = nn.ModuleList(AttentionBlock(settings, nn.GELU(), 4 * width) for _ in range(settings.blocks))
        self.head, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(num_items))
        self.dropout = nn.Dropout(settings.dropout)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def labels_of(self, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the expected number of masked items of each window."""
        drawn = np.maximum(1.0, self.settings.masked_share * lengths)
        expected: NDArray[np.float64] = _LAST_SHARE + (1 - _LAST_SHARE) * drawn
        return expected

    def examples(self, windows: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return windows with a mask token in place of some items, and these items as labels.

        At least one item of each window is masked.
        """
        windows = without_empty_columns(windows)
        is_item = windows >= 0
        draws = torch.from_numpy(rng.random(tuple(windows.shape)))
        draws[~is_item] = 2.0
        only_last = torch.from_numpy(rng.random(len(windows)) < _LAST_SHARE)
        least = draws.argmin(dim=1)  # masked if no draw falls below the share
        is_masked = draws < self.settings.masked_share
        is_masked[torch.arange(len(windows)), least] = True
        is_masked[only_last] = False
        is_masked[only_last, -1] = True
        return torch.where(is_masked, self.num_items, windows), torch.where(is_masked, windows, -1)

    def last_states(self, histories: Tensor) -> Tensor:
        """Return the state of a mask token after the history."""
        asked = functional.pad(histories[:, -self.settings.history :], (0, 1), value=self.num_items)
        states: Tensor = self(asked)[:, -1]
        return states

    def item_vectors(self) -> Tensor:
        """Return the vectors of the items, each with its bias as one more number."""
        return torch.cat([self.items.weight[: self.num_items], self.bias[:, None]], dim=1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the states ``(B, L, D + 1)``; their last number is 1, which the bias of an item is multiplied by."""
        length, is_item = inputs.shape[1], inputs >= 0
        hidden = self.items(inputs.clamp_min(0)) + self.positions.weight[-length:]  # (B, L, D)
        hidden = self.dropout(hidden) * is_item[:, :, None]
        itself = torch.eye(length, dtype=torch.bool, device=inputs.device)  # so that every row has a key
        mask = is_item[:, None, :] | itself  # (B, L, L)
        for block in self.blocks:
            hidden = block(hidden, mask[:, None])
        states = self.norm(functional.gelu(self.head(hidden)))
        return functional.pad(states, (0, 1), value=1.0)
