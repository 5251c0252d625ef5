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

# A shorter common head costs more, in a second pass and an explicit mask, than it saves.
_WORTHWHILE_HEAD = 8
_WORTHWHILE_SHARE = 1 / 8


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
    """Read a batch of prompts once; the tokens that all of them begin with are read once for the whole batch."""
    device = model_device(model)
    lengths = np.fromiter((len(prompt) for prompt in prompts), dtype=np.int64, count=len(prompts))
    width = int(lengths.max())
    padded = np.zeros((len(prompts), width), dtype=np.int64)  # (B, P)
    padded[np.arange(width)[None, :] < lengths[:, None]] = np.concatenate(prompts)
    head = _common_head(padded, int(lengths.min()))
    cache = DynamicCache()
    mask = None
    if head:
        _read(model, torch.from_numpy(padded[:1, :head]).to(device), 0, None, cache)
        cache.batch_repeat_interleave(len(prompts))
        slots = torch.arange(width, device=device)
        mask = (slots[None, :] <= slots[head:, None]).expand(len(prompts), 1, -1, -1)  # (B, 1, P - head, P)
    hidden = _read(model, torch.from_numpy(padded[:, head:]).to(device), head, mask, cache)  # (B, P - head, D)
    ends = torch.from_numpy(lengths).to(device)
    last = hidden[torch.arange(len(prompts), device=device), ends - 1 - head]
    return Prefilled(cache, ends, width, last)


def _read(model: Any, ids: Tensor, start: int, mask: Tensor | None, cache: Any) -> Tensor:
    positions = torch.arange(start, start + ids.shape[1], device=ids.device).expand_as(ids)
    return decode_hidden(model, ids, attention_mask=mask, position_ids=positions, cache=cache)


def _common_head(padded: NDArray[np.int64], shortest: int) -> int:
    """Length of what all prompts begin with, at least one token less than the shortest; 0 where it does not pay."""
    same = np.all(padded[:, : shortest - 1] == padded[0, : shortest - 1], axis=0)
    head = int(same.argmin()) if not same.all() else len(same)
    pays = len(padded) > 1 and head >= max(_WORTHWHILE_HEAD, _WORTHWHILE_SHARE * padded.shape[1])
    return head if pays else 0
