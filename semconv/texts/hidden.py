"""Text vectors from a forward pass: the mean hidden state of the backbone over the tokens of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.backbone.forward import ModelInput, decode_hidden, model_device
from semconv.backbone.text_vectors import TextVectors
from semconv.ragged import lengths_of, padded

_BATCH_TOKENS: Final = 8192
_MOST_TOKENS: Final = 512  # the beginning of a longer text


@dataclass(frozen=True)
class HiddenMeans:
    """Reads texts with a backbone; ``model`` is its decoder and ``tokenizer`` its tokenizer."""

    model: Any
    tokenizer: Any

    @torch.no_grad()
    def embed(self, item_index: NDArray[np.int32], texts: Sequence[str]) -> TextVectors:
        """Return the vectors of texts. Texts without tokens are left out.

        Args:
            item_index: ``(M,)``.
            texts: ``(M,)``.
        """
        longest = min(_MOST_TOKENS, int(self.model.config.max_position_embeddings or _MOST_TOKENS))
        found = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if len(texts) else []
        lengths = np.minimum(lengths_of(found), longest)
        vectors = np.zeros((len(texts), int(self.model.config.hidden_size)), dtype=np.float32)
        # Texts of similar length share a batch, so that little of a batch is padding.
        order = [row for row in np.argsort(lengths, kind="stable").tolist() if lengths[row]]
        while order:
            size = max(1, _BATCH_TOKENS // int(lengths[order[-1]]))
            order, batch = order[:-size], order[-size:]
            vectors[batch] = self._means([found[row][:longest] for row in batch], lengths[batch])
        return TextVectors(item_index[lengths > 0], vectors[lengths > 0])

    def _means(self, texts: Sequence[Sequence[int]], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the mean hidden state of each text. Later tokens do not change earlier states, so padding needs no mask."""
        device = model_device(self.model)
        flat = np.concatenate([np.asarray(text, dtype=np.int64) for text in texts])
        tokens = torch.from_numpy(padded(flat, lengths, 0)).to(device)  # (B, T)
        hidden = decode_hidden(self.model, ModelInput.causal(tokens)).float()  # (B, T, D)
        ends = torch.from_numpy(lengths).to(device)
        is_text = torch.arange(tokens.shape[1], device=device) < ends[:, None]
        means: NDArray[np.float32] = ((hidden * is_text[..., None]).sum(dim=1) / ends[:, None]).cpu().numpy()
        return means
