"""Prompts of different lengths as one batch, and their one pass through the model.

Prompts stand left-aligned, so the plain causal mask is right for every real token and padding is only
ever masked in the steps that follow. What all prompts of a job begin with is read once for the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Cache

from semconv.backbone.forward import decode_last, decoder, model_device
from semconv.ragged import lengths_of, padded
from semconv.search.slots import Slots

# A shorter common head costs more, in an explicit mask, than it saves.
_WORTHWHILE_HEAD = 8
_WORTHWHILE_SHARE = 1 / 8


@dataclass(frozen=True)
class Prefilled:
    """A batch of prompts that the model has read."""

    cache: Any
    lengths: Tensor  # (B,) real tokens of each prompt
    width: int  # P, slots of the cache that prompts take
    last_hidden: Tensor  # (B, D) of each prompt's last token

    def visible(self) -> Tensor:
        """``(B, 1, P)`` bool, True where a slot holds a real token."""
        slots = torch.arange(self.width, device=self.lengths.device)
        return slots[None, None, :] < self.lengths[:, None, None]

    def rewind(self) -> None:
        """Forget what was read after the prompts, so that something else can be read there."""
        for layer in self.cache.layers:
            layer.rewind(self.width)


class Reader:
    """Reads prompts with one model, and keeps the keys and values of the beginning that they share.

    Args:
        model: causal language model in eval mode, whose weights stay as they are.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._head: NDArray[Any] = np.zeros(0, dtype=np.int64)
        self._slots: list[Slots] = []

    def begin(self, prompts: Sequence[NDArray[Any]]) -> None:
        """Read what all prompts begin with, unless that is read already; call it before batches of these prompts."""
        known = len(self._head)
        if known and all(np.array_equal(prompt[:known], self._head) and len(prompt) > known for prompt in prompts):
            return
        self._head, self._slots = _common_head(prompts), []
        if len(self._head):
            ids = torch.from_numpy(self._head)[None].to(model_device(self._model))
            cache = self._cache(len(self._head))
            decode_last(
                self._model,
                ids,
                torch.zeros(1, dtype=torch.long, device=ids.device),
                attention_mask=None,
                position_ids=torch.arange(ids.shape[1], device=ids.device)[None],
                cache=cache,
            )
            self._slots = list(cache.layers)

    def read(self, prompts: Sequence[NDArray[Any]], room: int) -> Prefilled:
        """Read a batch of prompts.

        Args:
            prompts: B arrays of token ids that start with the head of ``begin``.
            room: tokens that are read later after each prompt; the cache has slots for them.
        """
        device, head = model_device(self._model), len(self._head)
        lengths = lengths_of(prompts)
        tokens = padded(np.concatenate(prompts).astype(np.int64, copy=False), lengths, 0)  # (B, P)
        width = tokens.shape[1]
        mask = None
        if head:
            slots = torch.arange(width, device=device)
            mask = (slots[None, :] <= slots[head:, None]).expand(len(prompts), 1, -1, -1)  # (B, 1, P - head, P)
        cache = self._cache(width + room)
        ids = torch.from_numpy(tokens[:, head:]).to(device)
        ends = torch.from_numpy(lengths).to(device)
        positions = torch.arange(head, width, device=device).expand_as(ids)
        last = decode_last(
            self._model, ids, ends - 1 - head, attention_mask=mask, position_ids=positions, cache=cache
        )  # (B, D)
        return Prefilled(cache, ends, width, last)

    def _cache(self, size: int) -> Any:
        count = len(decoder(self._model).layers)  # type: ignore[arg-type]
        before: Sequence[Slots | None] = self._slots or [None] * count
        return Cache(layers=[Slots(size, head) for head in before])


def _common_head(prompts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """What all prompts begin with, at least one token less than the shortest; empty where it does not pay."""
    shortest, longest = min(map(len, prompts)), max(map(len, prompts))
    begins = np.stack([prompt[: shortest - 1] for prompt in prompts])  # (R, shortest - 1)
    same = np.all(begins == begins[0], axis=0)
    head = int(same.argmin()) if not same.all() else len(same)
    pays = len(prompts) > 1 and head >= max(_WORTHWHILE_HEAD, _WORTHWHILE_SHARE * longest)
    return np.asarray(prompts[0][: head if pays else 0], dtype=np.int64)
