"""Prompts of different lengths as batches, and their one pass through the model.

Prompts stand left-aligned, so the plain causal mask is right for every real token and padding is only
ever masked in the steps that follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from semconv.backbone.forward import decode_hidden, model_device
from semconv.errors import InputError


@dataclass(frozen=True)
class Prefilled:
    """A batch of prompts that the model has read."""

    cache: Any
    lengths: Tensor  # (B,) real tokens of each prompt
    width: int  # P, slots of the cache
    last_hidden: Tensor  # (B, D) of each prompt's last token

    def visible(self) -> Tensor:
        """``(B, 1, P)`` bool, True where a slot holds a real token."""
        slots = torch.arange(self.width, device=self.lengths.device)
        return slots[None, None, :] < self.lengths[:, None, None]


def batches(prompts: Sequence[NDArray[Any]], batch_tokens: int, step_tokens: int = 1) -> Iterator[NDArray[np.int64]]:
    """Indices of prompts of like length, longest first, so that padding is small and memory trouble shows at once.

    Args:
        prompts: token ids, each at least one.
        batch_tokens: bound of ``batch x width``; one prompt alone may pass it.
        step_tokens: tokens a prompt feeds later side by side; they count like prompt tokens.

    Raises:
        InputError: a prompt is empty.
    """
    lengths = np.fromiter((len(prompt) for prompt in prompts), dtype=np.int64, count=len(prompts))
    if len(lengths) and lengths.min() < 1:
        raise InputError(f"prompt {int(lengths.argmin())} is empty; a prompt has at least one token")
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = max(int(lengths[order[start]]), step_tokens)
        stop = start + max(1, batch_tokens // width)
        yield order[start:stop]
        start = stop


def prefill(model: Any, prompts: Sequence[NDArray[Any]]) -> Prefilled:
    """Read a batch of prompts once."""
    device = model_device(model)
    lengths = np.fromiter((len(prompt) for prompt in prompts), dtype=np.int64, count=len(prompts))
    width = int(lengths.max())
    padded = np.zeros((len(prompts), width), dtype=np.int64)  # (B, P)
    padded[np.arange(width)[None, :] < lengths[:, None]] = np.concatenate(prompts)
    ids = torch.from_numpy(padded).to(device)
    positions = torch.arange(width, device=device).expand(len(prompts), width)
    cache = DynamicCache()
    hidden = decode_hidden(model, ids, attention_mask=None, position_ids=positions, cache=cache)  # (B, P, D)
    ends = torch.from_numpy(lengths).to(device)
    last = hidden[torch.arange(len(prompts), device=device), ends - 1]
    return Prefilled(cache, ends, width, last)
