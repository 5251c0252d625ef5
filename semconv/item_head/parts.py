"""The weights that a decoder needs to read and score items: item vectors, dates, and the weights of popularity.

The vector of an item is the sum of the embedding rows of its codes, its projected text vector, and a row of its own. The
own row is scaled by n / (n + 10), where n is the number of the item's training interactions, and is left out at random
during training. So an item that nobody has taken is scored from its codes and its text alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import dropout, embedding_bag

from semconv.backbone.forward import ModelInput, decode_hidden
from semconv.data.calendar import GAP_ROWS
from semconv.item_head.popularity import NUM_FEATURES
from semconv.tuning.model import ITEM_MODULE

NAME: Final = ITEM_MODULE
_START_SCALE: Final = 0.02  # standard deviation of new weights
_SUCCESSOR_START: Final = 3.0  # weight of the successors of the latest item before training
_SUCCESSOR_DECAY: Final = 0.8  # factor of the weight from one of the latest items to the item before it
_HALF_AT: Final = 10.0  # training interactions at which an item's own row counts half


@dataclass(frozen=True)
class PartsShape:
    """The sizes of the weights.

    Attributes:
        num_items: number I of items that have a row of their own.
        width: hidden size D of the decoder.
        text_width: length of a projected text vector, 0 without text vectors.
        num_periods: number of periods of the calendar, 0 without dates.
        num_latest: number of latest items whose successors are scored, 0 for none.
    """

    num_items: int
    width: int
    text_width: int
    num_periods: int
    num_latest: int = 0


class ItemParts(nn.Module):
    """The weights besides those of the decoder; they are trained and saved with it.

    Args:
        code_tokens: ``(I, N)`` code tokens of each item, -1 for an item without codes, whose vector means nothing.
        texts: ``(I, T)`` text vectors, as ``texts.TextBasis`` makes them.
        counts: ``(I,)`` training interactions of each item.
    """

    own_scale: Tensor  # (I, 1)
    code_tokens: Tensor  # (I, N)
    texts: Tensor  # (I, T)

    def __init__(
        self, shape: PartsShape, code_tokens: NDArray[np.int64], texts: NDArray[np.float32], counts: Any, seed: int
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def drawn(*sizes: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(sizes, generator=generator) * _START_SCALE)

        self.shape = shape
        self.own = drawn(shape.num_items, shape.width)
        self.text = drawn(shape.text_width, shape.width) if shape.text_width else None
        self.periods = nn.Parameter(torch.zeros(shape.num_periods + 1, shape.width)) if shape.num_periods else None
        self.gaps = nn.Parameter(torch.zeros(GAP_ROWS, shape.width)) if shape.num_periods else None
        self.waits = nn.Parameter(torch.zeros(GAP_ROWS, shape.width)) if shape.num_periods else None
        self.popularity = nn.Parameter(torch.zeros(NUM_FEATURES, shape.width)) if shape.num_periods else None
        latest = shape.num_latest
        self.successors = nn.Parameter(torch.zeros(latest, shape.width)) if latest else None
        starts = _SUCCESSOR_START * _SUCCESSOR_DECAY ** torch.arange(latest)
        self.successor_start = nn.Parameter(starts) if latest else None
        # The factor after the training, 1 before it; a parameter, so that it is saved with the weights.
        self.successor_factor = nn.Parameter(torch.ones(1), requires_grad=False) if latest else None
        scale = np.asarray(counts, dtype=np.float32) / (np.asarray(counts, dtype=np.float32) + _HALF_AT)
        self.register_buffer("own_scale", torch.from_numpy(scale)[:, None], persistent=False)
        self.register_buffer("code_tokens", torch.from_numpy(np.maximum(code_tokens, 0)), persistent=False)
        self.register_buffer("texts", torch.from_numpy(texts), persistent=False)

    def vectors(self, matrix: Tensor, items: Tensor, own_dropout: float = 0.0) -> Tensor:
        """Return the vectors ``(n, D)`` of some items.

        Args:
            matrix: ``(V, D)`` the model's input embeddings.
            items: ``(n,)`` item index; all of them have codes.
            own_dropout: probability with which the own row of an item is left out while the model is trained.
        """
        vectors = embedding_bag(self.code_tokens[items], matrix, mode="sum")  # (n, D)
        if self.text is not None:
            vectors = vectors + self.texts[items] @ self.text
        scale = self.own_scale[items]
        if self.training and own_dropout:
            scale = scale * (torch.rand_like(scale) >= own_dropout)
        return vectors + self.own[items] * scale

    def states(self, model: Any, inputs: ItemInputs, vectors: Tensor, rate: float) -> Tensor:
        """Return the decoder's hidden states ``(B, T, D)``.

        Args:
            vectors: ``(n, D)`` item vectors, to which ``inputs.rows`` refers.
            rate: dropout of the inputs while the model is trained.
        """
        embedded = vectors[inputs.rows]  # (B, T, D)
        if self.periods is not None and self.gaps is not None:
            embedded = embedded + self.periods[inputs.periods] + self.gaps[inputs.gaps]
        return decode_hidden(model, ModelInput.causal(None, dropout(embedded, rate, self.training)))

    def at_moments(self, hidden: Tensor, waits: Tensor) -> Tensor:
        """Add to hidden states ``(n, D)`` the row for the days between a user's last event and the request."""
        return hidden if self.waits is None else hidden + self.waits[waits]

    def popularity_weights(self, hidden: Tensor) -> Tensor | None:
        """Return the weights ``(n, 4)`` of the popularity numbers for hidden states ``(n, D)``; None without dates."""
        return None if self.popularity is None else hidden @ self.popularity.t()

    def multiply_successors(self, factor: float) -> None:
        """Multiply the weights of the successors by a factor, and remember it in ``successor_factor``."""
        with torch.no_grad():
            for weights in self._of_successors():
                weights.mul_(factor)

    def restore_trained_successors(self) -> None:
        """Divide the weights of the successors by ``successor_factor``, and set it to 1, as before the multiplication.

        A factor of 0 has left nothing to restore, so the weights stay 0.
        """
        if self.successor_factor is None:
            return
        factor = self.successor_factor.item()
        with torch.no_grad():
            for weights in self._of_successors():
                weights.div_(factor or 1.0)
            self.successor_factor.fill_(1.0)

    @contextlib.contextmanager
    def with_successors(self, factor: float) -> Iterator[None]:
        """Multiply the weights of the successors by a factor inside a block, and restore them exactly after it."""
        kept = [weights.detach().clone() for weights in self._of_successors()]
        self.multiply_successors(factor)
        try:
            yield
        finally:
            with torch.no_grad():
                for weights, before in zip(self._of_successors(), kept, strict=True):
                    weights.copy_(before)

    def _of_successors(self) -> list[nn.Parameter]:
        parts = (self.successors, self.successor_start, self.successor_factor)
        return [weights for weights in parts if weights is not None]

    def successor_weights(self, hidden: Tensor) -> Tensor | None:
        """Return the weights ``(n, K)`` of the successors of the K latest items for hidden states ``(n, D)``, or None."""
        if self.successors is None or self.successor_start is None:
            return None
        return hidden @ self.successors.t() + self.successor_start


@dataclass(frozen=True)
class ItemInputs:
    """B histories of at most T items, each padded at its end.

    Attributes:
        rows: ``(B, T)`` row of each item in a table of item vectors; 0 in the padding.
        periods, gaps: ``(B, T)`` rows of the date of each item.
    """

    rows: Tensor
    periods: Tensor
    gaps: Tensor

    def to(self, device: torch.device) -> ItemInputs:
        """Return the inputs on another device."""
        return ItemInputs(self.rows.to(device), self.periods.to(device), self.gaps.to(device))
