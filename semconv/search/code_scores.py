"""Log probabilities of codes from hidden states.

Only the output rows of one level's codes are multiplied. Where a score is a log probability over the full vocabulary,
one log-sum-exp is subtracted, so the sums of scores equal those of plain generation.
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
    """Scores codes level by level with one model.

    Args:
        model: causal language model without output bias.
        level_tokens: ``(N, C)`` token id of every code.
        normalization: ``full`` gives log probabilities over the whole vocabulary, ``trie`` over the codes that exist
            after the same prefix.

    Raises:
        InputError: a token id has no row in the output matrix.
    """

    def __init__(self, model: Any, level_tokens: NDArray[Any], normalization: Normalization) -> None:
        self._matrix = output_matrix(model)  # (V, D)
        self.tokens = torch.as_tensor(level_tokens, dtype=torch.long, device=model_device(model))  # (N, C)
        if self.tokens.ndim != 2 or int(self.tokens.min()) < 0 or int(self.tokens.max()) >= len(self._matrix):
            raise InputError(
                f"code tokens {tuple(self.tokens.shape)} do not fit an output matrix of {len(self._matrix)} rows;"
                " the model belongs to another code set"
            )
        self._rows = [self._matrix[tokens].float() for tokens in self.tokens]  # N x (C, D)
        self.among_siblings = normalization == "trie"

    def log_probs(self, hidden: Tensor, level: int, children: Children) -> Tensor:
        """Return ``(B, W, F)`` float32 log probabilities of the children of nodes with hidden states ``(B, W, D)``."""
        logits = hidden.float() @ self._rows[level].T  # (B, W, C), in full precision: scores of bfloat16 tie
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
    """Return ``(n,)`` the log-sum-exp of each row ``(n, V)``, and overwrite the logits to save memory."""
    largest = logits.amax(dim=-1, keepdim=True)
    return logits.sub_(largest).exp_().sum(dim=-1).log_() + largest[:, 0]
