"""FMLP-Rec (Zhou et al. 2022), trained with the full softmax.

A layer transforms the sequence of item vectors with a fast Fourier transform, multiplies each frequency by a learned
complex weight, and transforms it back; an MLP follows. The filter mixes all positions, so a training example is one
history with one label. Two things differ from the paper: the loss is the cross-entropy over all items instead of one
drawn negative, and positions before the start of a history are zero.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from semconv.data.store import Sequences
from semconv.peers.data import prefix_windows
from semconv.peers.network import PeerNetwork
from semconv.peers.settings import PeerSettings


class Fmlp(PeerNetwork):
    """Item vectors, positions and filter layers. Every sequence has the length ``settings.history``."""

    def __init__(self, num_items: int, settings: PeerSettings) -> None:
        super().__init__(settings)
        width = settings.width
        self.items = nn.Embedding(num_items, width)
        self.positions = nn.Embedding(settings.history, width)  # the last row belongs to the latest item
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(_FilterBlock(settings) for _ in range(settings.blocks))
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    @staticmethod
    def windows(train: Sequences, length: int) -> NDArray[np.int32]:
        """Return one window for each item that has a history."""
        return prefix_windows(train, length)

    def labels_of(self, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return 1 for each window."""
        return np.ones(len(lengths))

    def examples(self, windows: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return each window's history, with the window's last item as the label of the last position."""
        labels = torch.full_like(windows[:, :-1], -1)
        labels[:, -1] = windows[:, -1]
        return windows[:, :-1], labels

    def last_states(self, histories: Tensor) -> Tensor:
        """Return the state at the latest item."""
        states: Tensor = self(histories)[:, -1]
        return states

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the states ``(B, L, D)`` of histories of item_index, -1 before their start; L is ``settings.history``."""
        length = self.settings.history
        inputs = functional.pad(inputs[:, -length:], (length - min(length, inputs.shape[1]), 0), value=-1)
        hidden = self.norm(self.items(inputs.clamp_min(0)) + self.positions.weight)  # (B, L, D)
        hidden = self.dropout(hidden) * (inputs >= 0)[:, :, None]
        for block in self.blocks:
            hidden = block(hidden)
        states: Tensor = hidden
        return states


class _FilterBlock(nn.Module):
    def __init__(self, settings: PeerSettings) -> None:
        super().__init__()
        width = settings.width
        self.filter = nn.Parameter(torch.randn(settings.history // 2 + 1, width, 2) * 0.02)  # real and imaginary part
        self.filter_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        frequencies = torch.fft.rfft(hidden, dim=1, norm="ortho") * torch.view_as_complex(self.filter)
        mixed = torch.fft.irfft(frequencies, n=hidden.shape[1], dim=1, norm="ortho")
        hidden = self.filter_norm(hidden + self.dropout(mixed))
        changed: Tensor = self.mlp_norm(hidden + self.dropout(self.mlp(hidden)))
        return changed
