"""A key-value cache whose memory is allocated once, so that no step copies the earlier keys and values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer


class Slots(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer of the model, with a slot for each token.

    Args:
        size: number of slots.
        head: the same layer's cache of the tokens with which all sequences begin (batch size 1), or None.
    """

    def __init__(self, size: int, head: Slots | None = None) -> None:
        super().__init__()
        self._size, self._head, self._filled = size, head, 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write keys and values ``(B, H, T, D)`` into the next T slots, and return those of all filled slots."""
        if not self.is_initialized:
            self._allocate(key_states, value_states)
        start, end = self._filled, self._filled + key_states.shape[2]
        self.keys[:, :, start:end] = key_states
        self.values[:, :, start:end] = value_states
        self._filled = end
        if start == 0:
            return key_states, value_states
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        """Return the number of filled slots; transformers calls this."""
        return self._filled

    def rewind(self, tokens: int) -> None:
        """Free all slots after the first ``tokens``."""
        self._filled = tokens

    def _allocate(self, key_states: Tensor, value_states: Tensor) -> None:
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
