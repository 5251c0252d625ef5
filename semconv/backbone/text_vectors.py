"""Text vectors: the mean input embedding of the tokens of an item's text (docs/method.md, Text vectors).

Text vectors need no forward pass. The codebooks are pulled towards the space of the backbone's input embeddings, not of
its hidden states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.artifacts import read_arrays, write_arrays
from semconv.ragged import lengths_of, offsets_of

_CHUNK = 4096


@dataclass(frozen=True)
class TextVectors:
    """Text vectors of the items that have text."""

    item_index: NDArray[np.int32]  # (M,)
    vectors: NDArray[np.float32]  # (M, D_llm)

    def save(self, path: Path) -> None:
        """Write the vectors as safetensors."""
        write_arrays(path, {"item_index": self.item_index, "vectors": self.vectors})

    @classmethod
    def load(cls, path: Path) -> TextVectors:
        """Read a file that ``save`` wrote; raise InputError if it is missing or damaged."""
        arrays = read_arrays(path)
        return cls(arrays["item_index"], arrays["vectors"])


def item_text(title: str | None, description: str | None) -> str:
    """Join title and description into the text of an item; return an empty text if both are missing."""
    return ". ".join(part.strip() for part in (title, description) if part and part.strip())


def embed_texts(
    model: Any,
    tokenizer: Any,
    item_index: NDArray[np.int32],
    texts: Sequence[str],
    weights: NDArray[np.float32] | None = None,
) -> TextVectors:
    """Compute the mean input embedding of the tokens of each text. Texts without tokens are left out.

    Args:
        item_index: ``(M,)``.
        texts: ``(M,)``.
        weights: ``(V,)`` positive weight of each token in the mean; None for equal weights.
    """
    import torch  # imported here, so that reading vectors needs no torch

    weight = model.get_input_embeddings().weight.detach().float().cpu()  # (V, D_llm)
    of_token = None if weights is None else torch.from_numpy(weights)
    kept, parts = [], []
    for start in range(0, len(texts), _CHUNK):
        chunk = tokenizer(list(texts[start : start + _CHUNK]), add_special_tokens=False)["input_ids"]
        lengths = lengths_of(chunk)
        offsets = torch.from_numpy(offsets_of(lengths)[:-1])
        tokens = torch.tensor([token for tokens in chunk for token in tokens], dtype=torch.int64)
        if of_token is None:
            means = torch.nn.functional.embedding_bag(tokens, weight, offsets, mode="mean").numpy()
        else:
            means = _weighted_means(tokens, weight, offsets, of_token[tokens])
        parts.append(means[lengths > 0])
        kept.append(item_index[start : start + _CHUNK][lengths > 0])
    if not parts:
        return TextVectors(np.zeros(0, np.int32), np.zeros((0, weight.shape[1]), np.float32))
    return TextVectors(np.concatenate(kept), np.concatenate(parts).astype(np.float32))


def _weighted_means(tokens: Any, rows: Any, offsets: Any, weights: Any) -> NDArray[np.float32]:
    """Return the weighted mean of the rows of the tokens of each text, ``(M, D_llm)``.

    Args:
        tokens: ``(n,)`` tokens of all texts.
        rows: ``(V, D_llm)``.
        offsets: ``(M,)`` where the tokens of each text begin.
        weights: ``(n,)`` weight of each token.
    """
    import torch

    def sums(table: Any, entries: Any) -> Any:
        return torch.nn.functional.embedding_bag(entries, table, offsets, mode="sum", per_sample_weights=weights)

    totals = sums(torch.ones(1, 1), torch.zeros_like(tokens))  # (M, 1)
    means: NDArray[np.float32] = (sums(rows, tokens) / totals.clamp_min(1e-12)).numpy()
    return means
