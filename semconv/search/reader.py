"""The model's passes in a search: one over a batch of prompts, then one for each step of the beams.

Prompts are padded at their ends. So a plain causal mask is right for every real token, and only later passes must mask
the padding. Most prompts of a job begin with the same tokens, the head. The model reads the head once.

After its prompt, the beams of a user are a tree in the model's key-value cache: the prompt is the root, each code token
is a node. One pass reads the newest token of every beam of a prompt. All these tokens have the same position in the
sequence. A token attends to its prompt and to the earlier tokens of its own beam, its ancestors. Tokens of dropped
beams stay in the cache, but later tokens do not attend to them.
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

from semconv.backbone.forward import ModelInput, decode_hidden, decode_last, decoder, model_device
from semconv.ragged import lengths_of, padded
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
            inputs = ModelInput(ids, torch.arange(ids.shape[1], device=ids.device)[None])
            cache = self._new_cache(len(self._head))
            decode_last(self._model, inputs, torch.zeros(1, dtype=torch.long, device=ids.device), cache)
            self._slots = list(cache.layers)

    def read(self, prompts: Sequence[NDArray[Any]], room: int) -> BeamTree:
        """Read a batch of prompts, and compute the hidden state of each user: of the prompt's last token.

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
        last = decode_last(self._model, ModelInput(ids, positions, mask), ends - 1 - head, cache)  # (B, D)
        return BeamTree(self._model, cache, ends, width, last)

    def _new_cache(self, size: int) -> Any:
        count = len(decoder(self._model).layers)  # type: ignore[arg-type]
        heads: Sequence[Slots | None] = self._slots or [None] * count
        return Cache(layers=[Slots(size, head) for head in heads])


@dataclass
class BeamTree:
    """A batch of B prompts in the model's cache, and the code tokens (nodes) that the model read after them."""

    model: Any
    cache: Any
    lengths: Tensor  # (B,) tokens of each prompt
    width: int  # P, number of cache slots that each padded prompt fills
    last_hidden: Tensor  # (B, D) hidden state of each prompt's last token
    num_read: int = 0  # number of cache slots that the nodes of a prompt fill

    def read_nodes(self, token_ids: Tensor, ancestors: Tensor) -> tuple[Tensor, Tensor]:
        """Read one more code token for each of W beams of each prompt.

        Args:
            token_ids: ``(B, W)`` the new tokens.
            ancestors: ``(B, W, depth - 1)`` cache slots of the earlier tokens of each beam; slot 0 follows the prompt.

        Returns:
            hidden states ``(B, W, D)`` of the new tokens, and ``(B, W, depth)`` the slots of all tokens of each beam.
        """
        batch, width = token_ids.shape
        device, stop = token_ids.device, self.num_read + width
        own = torch.arange(self.num_read, stop, device=device).expand(batch, width)  # (B, W)
        path = torch.cat([ancestors, own[:, :, None]], dim=2)  # (B, W, depth)
        mask = torch.zeros((batch, width, self.width + stop), dtype=torch.bool, device=device)
        mask[:, :, : self.width] = torch.arange(self.width, device=device) < self.lengths[:, None, None]
        mask.scatter_(2, path + self.width, True)
        positions = (self.lengths + path.shape[2] - 1)[:, None].expand(batch, width)
        hidden = decode_hidden(self.model, ModelInput(token_ids, positions, mask[:, None]), self.cache)
        self.num_read = stop
        return hidden, path

    def rewind(self) -> None:
        """Remove all nodes, so that the model can read new ones after the same prompts."""
        for layer in self.cache.layers:
            layer.rewind(self.width)
        self.num_read = 0


def _common_head(prompts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the tokens with which all prompts begin, without any prompt's last token; empty if too few to pay off."""
    shortest, longest = min(map(len, prompts)), max(map(len, prompts))
    begins = np.stack([prompt[: shortest - 1] for prompt in prompts])  # (R, shortest - 1)
    same = np.all(begins == begins[0], axis=0)
    head = int(same.argmin()) if not same.all() else len(same)
    pays = len(prompts) > 1 and head >= max(_WORTHWHILE_HEAD, _WORTHWHILE_SHARE * longest)
    return np.asarray(prompts[0][: head if pays else 0], dtype=np.int64)
