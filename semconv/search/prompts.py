"""Reading a batch of prompts of different lengths in one pass of the model.

Prompts are padded at their ends. So a plain causal mask is right for every real token, and only later steps of the
search must mask the padding. Most prompts of a job begin with the same tokens, the head. The model reads the head once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Cache

from semconv.backbone.forward import decode_last, decoder, model_device
from semconv.ragged import lengths_of, padded
from semconv.search.beam_tree import BeamTree
from semconv.search.slots import Slots

# A shorter head does not pay, because prompts that continue a head need an explicit mask.
_WORTHWHILE_HEAD = 8
_WORTHWHILE_SHARE = 1 / 8


class PromptReader:
    """Reads prompts with one model, and keeps the keys and values of their common beginning, the head.

    Args:
        model: causal language model in eval mode, whose weights do not change.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._head: NDArray[Any] = np.zeros(0, dtype=np.int64)
        self._slots: list[Slots] = []

    def read_head(self, prompts: Sequence[NDArray[Any]]) -> None:
        """Read the head of the prompts, unless its keys and values are in memory already.

        Call this before ``read`` for any batch of these prompts.
        """
        known = len(self._head)
        if known and all(np.array_equal(prompt[:known], self._head) and len(prompt) > known for prompt in prompts):
            return
        self._head, self._slots = _common_head(prompts), []
        if len(self._head):
            ids = torch.from_numpy(self._head)[None].to(model_device(self._model))
            cache = self._new_cache(len(self._head))
            decode_last(
                self._model,
                ids,
                torch.zeros(1, dtype=torch.long, device=ids.device),
                attention_mask=None,
                position_ids=torch.arange(ids.shape[1], device=ids.device)[None],
                cache=cache,
            )
            self._slots = list(cache.layers)

    def read(self, prompts: Sequence[NDArray[Any]], room: int) -> BeamTree:
        """Read a batch of prompts.

        Args:
            prompts: B arrays of token ids that start with the head.
            room: number of cache slots to reserve after each prompt, for the tokens of its beams.
        """
        device, head, lengths = model_device(self._model), len(self._head), lengths_of(prompts)
        tokens = padded(np.concatenate(prompts).astype(np.int64, copy=False), lengths, 0)  # (B, P)
        width = tokens.shape[1]
        mask = None
        if head:
            slots = torch.arange(width, device=device)
            mask = (slots[None, :] <= slots[head:, None]).expand(len(prompts), 1, -1, -1)  # (B, 1, P - head, P)
        cache = self._new_cache(width + room)
        ids = torch.from_numpy(tokens[:, head:]).to(device)
        ends = torch.from_numpy(lengths).to(device)
        positions = torch.arange(head, width, device=device).expand_as(ids)
        last = decode_last(
            self._model, ids, ends - 1 - head, attention_mask=mask, position_ids=positions, cache=cache
        )  # (B, D)
        return BeamTree(self._model, cache, ends, width, last)

    def _new_cache(self, size: int) -> Any:
        count = len(decoder(self._model).layers)  # type: ignore[arg-type]
        heads: Sequence[Slots | None] = self._slots or [None] * count
        return Cache(layers=[Slots(size, head) for head in heads])


def _common_head(prompts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the tokens with which all prompts begin, without any prompt's last token; empty if too few to pay off."""
    shortest, longest = min(map(len, prompts)), max(map(len, prompts))
    begins = np.stack([prompt[: shortest - 1] for prompt in prompts])  # (R, shortest - 1)
    same = np.all(begins == begins[0], axis=0)
    head = int(same.argmin()) if not same.all() else len(same)
    pays = len(prompts) > 1 and head >= max(_WORTHWHILE_HEAD, _WORTHWHILE_SHARE * longest)
    return np.asarray(prompts[0][: head if pays else 0], dtype=np.int64)
