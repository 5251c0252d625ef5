"""Keys and values of one layer in memory that is taken once: a step writes behind what is there and copies none of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer


class Slots(DynamicLayer):  # type: ignore[misc]
    """A cache layer of known size.

    Args:
        size: tokens that it will hold.
        head: a full layer of one sequence that all sequences of this one begin with, or None.
    """

    def __init__(self, size: int, head: Slots | None = None) -> None:
        super().__init__()
        self._size, self._head, self._filled = size, head, 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write ``(B, H, T, D)`` behind what is there, and give all that is there."""
        if not self.is_initialized:
            self._take(key_states, value_states)
        start, end = self._filled, self._filled + key_states.shape[2]
        self.keys[:, :, start:end] = key_states
        self.values[:, :, start:end] = value_states
        self._filled = end
        if start == 0:
            return key_states, value_states
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Tokens that are there."""
        return self._filled

    def rewind(self, tokens: int) -> None:
        """Forget all but the first tokens, so that others are read in their place."""
        self._filled = tokens

    def _take(self, key_states: Tensor, value_states: Tensor) -> None:
        batch, heads, _, width = key_states.shape
        self.keys = torch.empty((batch, heads, self._size, width), dtype=key_states.dtype, device=key_states.device)
        self.values = torch.empty(
            (batch, heads, self._size, value_states.shape[3]), dtype=value_states.dtype, device=value_states.device
        )
        self.is_initialized = True
        if self._head is not None:
            self._filled = self._head.get_seq_length()
            self.keys[:, :, : self._filled] = self._head.keys[:, :, : self._filled]
            self.values[:, :, : self._filled] = self._head.values[:, :, : self._filled]
