"""Log probabilities of codes from hidden states.

Only the level's own rows of the output matrix are multiplied; over the full vocabulary one
log-sum-exp is added, so that sums of scores equal those of plain generation.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.backbone.forward import model_device, output_matrix
from semconv.errors import InputError
from semconv.search.trie_tensors import Children

Normalization = Literal["full", "level", "trie"]

# Elements of one block of full-vocabulary logits: on a CPU as many as stay in its cache.
_BLOCK_ELEMENTS = {"cpu": 1 << 20}
_BLOCK_ELEMENTS_ELSEWHERE = 1 << 24


class LevelScorer:
    """Scores codes level by level with one model.

    Args:
        model: causal language model without output bias.
        level_tokens: ``(N, C)`` token id of every code.
        normalization: ``full`` gives log probabilities over the whole vocabulary, ``level`` over the level's C codes,
            ``trie`` over the codes that exist after the same prefix.

    Raises:
        InputError: a token id has no row in the output matrix.
    """

    def __init__(self, model: Any, level_tokens: NDArray[Any], normalization: Normalization) -> None:
        self._matrix = output_matrix(model)  # (V, D)
        self.tokens = torch.as_tensor(level_tokens, dtype=torch.long, device=model_device(model))  # (N, C)
        if self.tokens.ndim != 2 or int(self.tokens.min()) < 0 or int(self.tokens.max()) >= len(self._matrix):
            raise InputError(
                f"code tokens {tuple(self.tokens.shape)} do not fit an output matrix of {len(self._matrix)} rows; "
                "the model belongs to another code set"
            )
        self._rows = [self._matrix[tokens].float() for tokens in self.tokens]  # N x (C, D)
        self._normalization = normalization

    @property
    def among_siblings(self) -> bool:
        """Whether a code competes with those alone that exist after the same prefix, so that an only child has 0."""
        return self._normalization == "trie"

    def log_probs(self, hidden: Tensor, level: int, children: Children) -> Tensor:
        """``(B, W, D)`` hidden states of nodes -> ``(B, W, F)`` float32 log probabilities of their children."""
        logits = hidden.float() @ self._rows[level].T  # (B, W, C), in full precision: scores of bfloat16 tie
        steps = logits.gather(2, children.codes)
        if self._normalization == "full":
            return steps - self._log_normalizer(hidden)[..., None]
        if self._normalization == "level":
            return steps - logits.logsumexp(dim=-1, keepdim=True)
        return steps - steps.masked_fill(~children.exists, -torch.inf).logsumexp(dim=2, keepdim=True)

    def _log_normalizer(self, hidden: Tensor) -> Tensor:
        flat = hidden.reshape(-1, hidden.shape[-1])  # (n, D)
        elements = _BLOCK_ELEMENTS.get(hidden.device.type, _BLOCK_ELEMENTS_ELSEWHERE)
        parts = torch.split(flat, max(1, elements // len(self._matrix)))
        return torch.cat([_logsumexp((part @ self._matrix.T).float()) for part in parts]).reshape(hidden.shape[:-1])


def _logsumexp(logits: Tensor) -> Tensor:
    """``(n, V) -> (n,)``, in the memory of the logits."""
    largest = logits.amax(dim=-1, keepdim=True)
    return logits.sub_(largest).exp_().sum(dim=-1).log_() + largest[:, 0]
