"""Scores of codes: the model's log probability of each next code, from the hidden state of the token before it.

The logits of a level need only the rows of the output matrix that belong to the codes of that level. With
``recommend.scores = full`` the log-sum-exp over the full vocabulary is subtracted. The sum over an item's codes is then
the log probability that plain generation gives to its code tokens.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.backbone.forward import model_device, output_matrix
from semconv.errors import InputError
from semconv.search.trie_tensors import Children

Normalization = Literal["full", "trie"]

# Elements of one block of full-vocabulary logits. On a CPU, a block of this size stays in the cache.
_CPU_BLOCK_ELEMENTS = 1 << 20
_GPU_BLOCK_ELEMENTS = 1 << 24


class CodeScorer:
    """Turns hidden states of one model into log probabilities of codes, level by level.

    Args:
        model: causal language model without output bias.
        level_tokens: ``(N, C)`` token id of every code, levels by codes.
        normalization: ``full`` normalises over the whole vocabulary, ``trie`` over the codes that items have after the
            same first codes.

    Raises:
        InputError: a token id has no row in the output matrix.
    """

    def __init__(self, model: Any, level_tokens: NDArray[Any], normalization: Normalization) -> None:
        self._matrix = output_matrix(model)  # (V, D)
        self.tokens = torch.as_tensor(level_tokens, dtype=torch.long, device=model_device(model))  # (N, C)
        if self.tokens.ndim != 2 or int(self.tokens.min()) < 0 or int(self.tokens.max()) >= len(self._matrix):
            raise InputError(
                f"some of the code tokens {tuple(self.tokens.shape)} have no row in the model's output matrix of"
                f" {len(self._matrix)} rows; the model belongs to another code set"
            )
        self._rows = [self._matrix[tokens].float() for tokens in self.tokens]  # N x (C, D)
        self.among_siblings = normalization == "trie"

    def log_probs(self, hidden: Tensor, level: int, children: Children) -> Tensor:
        """Return float32 log probabilities ``(B, W, F)`` of the next codes of each beam.

        Args:
            hidden: ``(B, W, D)`` hidden state of the last token of each beam.
            level: level of the next codes, from 0.
            children: the next codes that exist in the trie, F at most for each beam.
        """
        logits = hidden.float() @ self._rows[level].T  # (B, W, C), in float32: in bfloat16 many scores would be equal
        steps = logits.gather(2, children.codes)
        if self.among_siblings:
            return steps - steps.masked_fill(~children.exists, -torch.inf).logsumexp(dim=2, keepdim=True)
        return steps - self._log_normalizer(hidden)[..., None]

    def _log_normalizer(self, hidden: Tensor) -> Tensor:
        flat = hidden.reshape(-1, hidden.shape[-1])  # (n, D)
        elements = _CPU_BLOCK_ELEMENTS if hidden.device.type == "cpu" else _GPU_BLOCK_ELEMENTS
        parts = torch.split(flat, max(1, elements // len(self._matrix)))
        return torch.cat([_logsumexp((part @ self._matrix.T).float()) for part in parts]).reshape(hidden.shape[:-1])


def _logsumexp(logits: Tensor) -> Tensor:
    """Return the log-sum-exp ``(n,)`` of each row of ``logits`` ``(n, V)``, and overwrite ``logits`` to save memory."""
    largest = logits.amax(dim=-1, keepdim=True)
    return logits.sub_(largest).exp_().sum(dim=-1).log_() + largest[:, 0]
