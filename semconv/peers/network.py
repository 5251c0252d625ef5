"""What all peers have in common: item vectors, training examples from windows, and one state for each history."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from semconv.data.store import Sequences
from semconv.peers.data import overlapping_windows
from semconv.peers.settings import PeerSettings


class PeerNetwork(nn.Module, ABC):
    """A network that reads a history; the score of an item is the dot product of its vector with the network's state."""

    passes: ClassVar[int] = 1  # passes over the windows in an epoch
    items: nn.Embedding

    def __init__(self, settings: PeerSettings) -> None:
        super().__init__()
        torch.manual_seed(settings.seed)
        self.settings = settings

    @staticmethod
    def windows(train: Sequences, length: int) -> NDArray[np.int32]:
        """Return the windows ``(W, length + 1)`` of the training sequences, with -1 before their start."""
        return overlapping_windows(train, length)

    @abstractmethod
    def labels_of(self, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the expected number of labels of windows with these numbers of items, ``(W,)``."""

    @abstractmethod
    def examples(self, windows: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return inputs and labels ``(B, L)`` of windows ``(B, length + 1)``; -1 where there is no label."""

    @abstractmethod
    def last_states(self, histories: Tensor) -> Tensor:
        """Return the state ``(B, D)`` from which items are ranked, for histories ``(B, L)``, -1 before their start."""

    def item_vectors(self) -> Tensor:
        """Return the vectors ``(I, D)`` that states are compared with."""
        return self.items.weight


class AttentionBlock(nn.Module):
    """Self-attention and an MLP, each after a normalisation and with a residual connection."""

    def __init__(self, settings: PeerSettings, activation: nn.Module, mlp_width: int) -> None:
        super().__init__()
        width = settings.width
        self.heads, self.rate = settings.heads, settings.dropout
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projection, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_width), activation, nn.Dropout(settings.dropout), nn.Linear(mlp_width, width)
        )
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the hidden states ``(B, L, D)``; ``mask`` ``(B, 1, L, L)`` tells which keys a position sees."""
        batch, length, width = hidden.shape
        parts = self.projection(self.attention_norm(hidden)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, H, L, D / H) each
        mixed = functional.scaled_dot_product_attention(query, key, value, mask, self.rate if self.training else 0.0)
        hidden = hidden + self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, width)))
        changed: Tensor = hidden + self.dropout(self.mlp(self.mlp_norm(hidden)))
        return changed


def without_empty_columns(windows: Tensor) -> Tensor:
    """Return windows ``(B, L)`` without the first columns that are -1 in all rows."""
    return windows[:, int((windows >= 0).any(dim=0).int().argmax()) :]
