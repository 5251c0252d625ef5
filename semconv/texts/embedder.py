"""One interface for the kinds of text vectors: fit on the texts of today, stored for the texts of tomorrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from semconv.artifacts import read_arrays, write_arrays
from semconv.backbone.text_vectors import TextVectors, embed_texts
from semconv.errors import InputError
from semconv.ragged import lengths_of, row_of
from semconv.settings.text_vectors import TextKind, TextSettings
from semconv.texts.rarity import rarities
from semconv.texts.tfidf import TfidfBasis

Backbone = Callable[[], tuple[Any, Any]]  # loads a model and its tokenizer
_CHUNK = 4096


class TextEmbedder(Protocol):
    """Turns texts into vectors of one width. The vector of a text does not depend on other texts."""

    def embed(self, item_index: NDArray[np.int32], texts: Sequence[str]) -> TextVectors:
        """Return the vectors of texts ``(M,)``. Texts in which it finds nothing that it knows are left out."""
        ...


@dataclass(frozen=True)
class InputMeans:
    """The mean input embedding of the tokens of a text.

    Attributes:
        model: the backbone.
        tokenizer: its tokenizer.
        weights: ``(V,)`` weight of each token in the mean; None for equal weights.
    """

    model: Any
    tokenizer: Any
    weights: NDArray[np.float32] | None = None

    def embed(self, item_index: NDArray[np.int32], texts: Sequence[str]) -> TextVectors:
        """Return the means of texts ``(M,)``. Texts without tokens are left out."""
        return embed_texts(self.model, self.tokenizer, item_index, texts, self.weights)


@dataclass(frozen=True)
class NoVectors:
    """No text vectors, as if no item had a text."""

    def embed(self, item_index: NDArray[np.int32], texts: Sequence[str]) -> TextVectors:
        """Return no vector."""
        return TextVectors(item_index[:0], np.zeros((0, 1), dtype=np.float32))


def fit_embedder(kind: TextKind, settings: TextSettings, backbone: Backbone, texts: Sequence[str]) -> TextEmbedder:
    """Fit a kind of text vectors to the texts of items."""
    if kind == "none":
        return NoVectors()
    if kind == "tfidf":
        return TfidfBasis.fit(texts, settings.dimensions, settings.seed)
    model, tokenizer = backbone()
    if kind == "idf":
        return InputMeans(model, tokenizer, _token_weights(tokenizer, texts, len(model.get_input_embeddings().weight)))
    return _with_backbone(kind, model, tokenizer)


def save_embedder(embedder: TextEmbedder, path: Path) -> None:
    """Write what was fitted as safetensors; kinds without a fit have no file."""
    if isinstance(embedder, TfidfBasis):
        write_arrays(path, embedder.arrays())
    elif isinstance(embedder, InputMeans) and embedder.weights is not None:
        write_arrays(path, {"weights": embedder.weights})


def load_embedder(kind: TextKind, backbone: Backbone, path: Callable[[], Path]) -> TextEmbedder:
    """Return the embedder that ``save_embedder`` stored.

    Args:
        kind: the kind of text vectors.
        backbone: loads the backbone of the fit.
        path: returns the file of the fit, once it is known to be intact; called only for a kind that has a file.

    Raises:
        InputError: the file or the backbone is missing or damaged.
    """
    if kind == "none":
        return NoVectors()
    if kind not in ("idf", "tfidf"):
        return _with_backbone(kind, *backbone())
    file = path()
    arrays = read_arrays(file)
    try:
        return TfidfBasis.of_arrays(arrays) if kind == "tfidf" else InputMeans(*backbone(), arrays["weights"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{file}: holds no basis of text vectors ({error}); run `semconv embed text` again") from error


def _with_backbone(kind: TextKind, model: Any, tokenizer: Any) -> TextEmbedder:
    if kind == "hidden":
        from semconv.backbone.machine import lists_device  # imports torch
        from semconv.texts.hidden import HiddenMeans

        return HiddenMeans(model.to(lists_device()), tokenizer)
    return InputMeans(model, tokenizer)


def _token_weights(tokenizer: Any, texts: Sequence[str], num_tokens: int) -> NDArray[np.float32]:
    """Return the weight of each token, by the number of texts that have it."""
    num_texts_with = np.zeros(num_tokens, dtype=np.int64)
    for start in range(0, len(texts), _CHUNK):
        found = tokenizer(list(texts[start : start + _CHUNK]), add_special_tokens=False)["input_ids"]
        tokens = np.array([token for row in found for token in row], dtype=np.int64)
        pairs = np.unique(row_of(lengths_of(found)) * num_tokens + tokens)
        num_texts_with += np.bincount(pairs % num_tokens, minlength=num_tokens)
    return rarities(num_texts_with, len(texts)).astype(np.float32)
