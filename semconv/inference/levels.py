"""Log probabilities of a level's codes from hidden states.

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

Normalization = Literal["full", "level", "trie"]

# Elements of one block of full-vocabulary logits: 64 MiB of float32.
_BLOCK_ELEMENTS = 1 << 24


class LevelScorer:
    """Scores codes level by level with one model.

    Args:
        model: causal language model without output bias.
        level_tokens: ``(N, C)`` token id of every code.
        normalization: ``full`` gives log probabilities over the whole vocabulary, ``level`` over the level's C codes;
            ``trie`` asks for a second step over the codes that exist after each prefix (``among_siblings``).

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
        self._rows = [self._matrix[tokens] for tokens in self.tokens]  # N x (C, D)
        self._normalization = normalization

    @property
    def among_siblings(self) -> bool:
        """Whether a code competes with those alone that exist after the same prefix."""
        return self._normalization == "trie"

    def log_probs(self, hidden: Tensor, level: int) -> Tensor:
        """``(..., D)`` hidden states -> ``(..., C)`` float32 log probabilities of the level's codes."""
        logits = (hidden @ self._rows[level].T).float()
        if self._normalization != "full":
            return logits.log_softmax(dim=-1)
        return logits - self._log_normalizer(hidden)[..., None]

    def _log_normalizer(self, hidden: Tensor) -> Tensor:
        flat = hidden.reshape(-1, hidden.shape[-1])  # (n, D)
        block = max(1, _BLOCK_ELEMENTS // len(self._matrix))
        parts = [(part @ self._matrix.T).float().logsumexp(dim=-1) for part in torch.split(flat, block)]
        return torch.cat(parts).reshape(hidden.shape[:-1])
