"""SASRec (Kang & McAuley 2018), trained with the full softmax.

As in the paper it has causal self-attention over the latest items, learned positions, and item vectors that are both
input and output. Three things differ: the loss is the cross-entropy over all items instead of one drawn negative, which
makes SASRec much stronger; blocks normalise before each part; and positions count from the end.

SASRec may also read what the item head reads: a projected text vector is then added to each item vector, and rows for
the period of an event and for the gap before it are added to each input.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semconv.data.calendar import GAP_ROWS
from semconv.peers.inputs import SideInputs
from semconv.peers.network import AttentionBlock, PeerNetwork, without_empty_columns
from semconv.peers.settings import PeerSettings


class Sasrec(PeerNetwork):
    """Item vectors, positions and blocks. ``forward`` returns the state after every item.

    Args:
        side: dates and text vectors to read; None for items only.
    """

    texts: Tensor  # (I, T)

    def __init__(self, num_items: int, settings: PeerSettings, side: SideInputs | None = None) -> None:
        super().__init__(settings)
        width = settings.width
        self.items = nn.Embedding(num_items, width)
        self.positions = nn.Embedding(settings.history, width)  # the last row belongs to the latest item
        self.blocks = nn.ModuleList(AttentionBlock(settings, nn.ReLU(), width) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(settings.dropout)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self._side = side
        self.text: nn.Parameter | None = None
        self.periods: nn.Parameter | None = None
        self.gaps: nn.Parameter | None = None
        if side is not None:
            self._add_rows(side, width)

    def _add_rows(self, side: SideInputs, width: int) -> None:
        self.register_buffer("texts", torch.from_numpy(side.texts), persistent=False)
        if side.texts.shape[1]:
            self.text = nn.Parameter(torch.randn(side.texts.shape[1], width) * 0.02)
        if side.num_periods:
            self.periods = nn.Parameter(torch.zeros(side.num_periods, width))
            self.gaps = nn.Parameter(torch.zeros(GAP_ROWS, width))

    def labels_of(self, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the number of labels of each window: every item but the first."""
        return (lengths - 1).astype(np.float64)

    def examples(self, windows: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the items of a window, each with its successor as the label."""
        windows = without_empty_columns(windows)
        inputs, following = windows[:, :-1], windows[:, 1:]
        if self._side is not None:
            following = self._side.parts(following.clamp_min(0))[0]
        return inputs, torch.where(inputs >= 0, following, -1)

    def last_states(self, histories: Tensor) -> Tensor:
        """Return the state after the latest item."""
        states: Tensor = self(histories)[:, -1]
        return states

    def item_vectors(self) -> Tensor:
        """Return the vectors ``(I, D)`` of the items, with their projected text vectors."""
        vectors = self.items.weight
        return vectors if self.text is None else vectors + self.texts @ self.text

    def _embedded(self, inputs: Tensor) -> Tensor:
        """Return the vectors ``(B, L, D)`` of inputs, with the rows of their dates; any vector before a history's start."""
        numbers, scale = inputs.clamp_min(0), self.items.embedding_dim**0.5
        if self._side is None:
            plain: Tensor = self.items(numbers) * scale
            return plain
        items, periods, gaps = self._side.parts(numbers)
        vectors: Tensor = self.items(items)
        if self.text is not None:
            vectors = vectors + self.texts[items] @ self.text
        vectors = vectors * scale
        if self.periods is not None and self.gaps is not None:
            vectors = vectors + self.periods[periods] + self.gaps[gaps]
        return vectors

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the states ``(B, L, D)`` of histories ``(B, L)``, -1 before their start.

        Without dates, the histories are arrays of item_index; with dates, of the numbers of ``SideInputs``.
        """
        length, is_item = inputs.shape[1], inputs >= 0
        hidden = self._embedded(inputs) + self.positions.weight[-length:]  # (B, L, D)
        hidden = self.dropout(hidden) * is_item[:, :, None]
        causal = torch.ones(length, length, dtype=torch.bool, device=inputs.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=inputs.device)  # so that every row has a key
        mask = causal & (is_item[:, None, :] | itself)  # (B, L, L)
        for block in self.blocks:
            hidden = block(hidden, mask[:, None])
        states: Tensor = self.norm(hidden)
        return states
