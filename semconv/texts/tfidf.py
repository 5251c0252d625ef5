"""Text vectors from words: TF-IDF weights, reduced by a truncated SVD (latent semantic analysis, Deerwester 1990).

The words, their weights and the SVD are fitted once, on the texts of the items of that day. Texts that come later are
turned into vectors by the same words, weights and SVD. A word that the fit did not see counts for nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.backbone.text_vectors import TextVectors
from semconv.ragged import lengths_of, offsets_of
from semconv.texts.rarity import rarities
from semconv.texts.words import NumberedWords, words
from semconv.truncated_svd import truncated_svd

_CHUNK: Final = 4096
_MOST_WORDS: Final = 50_000
_MOST_TEXTS: Final = 200_000


@dataclass(frozen=True)
class TfidfBasis:
    """The words of the fit, with what turns the words of a text into its vector.

    Attributes:
        numbers: number of each of W words.
        rarities: ``(W,)`` weight of each word, larger for words of fewer texts.
        directions: ``(W, D)`` the right components of the SVD.
    """

    numbers: Mapping[str, int]
    rarities: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def fit(cls, texts: Sequence[str], dimensions: int, seed: int) -> TfidfBasis:
        """Fit the basis to texts, of more than 200,000 texts to a sample.

        Words of one text alone are left out, because they tell nothing about other texts, unless all words are such.
        Of more than 50,000 words the most frequent are kept. Texts with fewer components than ``dimensions`` have
        shorter vectors.
        """
        if len(texts) > _MOST_TEXTS:
            chosen = np.random.default_rng(seed).choice(len(texts), _MOST_TEXTS, replace=False)
            texts = [texts[row] for row in np.sort(chosen)]
        found: dict[str, int] = {}
        counts = _counts(NumberedWords.of((words(text) for text in texts), found), len(found))
        num_texts = np.bincount(counts.indices, minlength=len(found))  # texts that have each word
        kept = np.flatnonzero(num_texts > 1)
        kept = kept if len(kept) else np.arange(len(found))
        kept = np.sort(kept[np.argsort(-num_texts[kept], kind="stable")][:_MOST_WORDS])
        weights = rarities(num_texts[kept], len(texts)).astype(np.float32)
        names = list(found)
        numbers = {names[word]: number for number, word in enumerate(kept.tolist())}
        if not len(kept):
            return cls(numbers, weights, np.zeros((0, 1), dtype=np.float32))
        values, right = truncated_svd(_weighted(counts[:, kept], weights), dimensions, seed)
        return cls(numbers, weights, right[:, : max(1, np.count_nonzero(values))].astype(np.float32))

    def embed(self, item_index: NDArray[np.int32], texts: Sequence[str]) -> TextVectors:
        """Return the vectors of texts. Texts without a word of the fit are left out.

        Args:
            item_index: ``(M,)``.
            texts: ``(M,)``.
        """
        kept = [np.zeros(0, dtype=np.int32)]
        parts = [np.zeros((0, self.directions.shape[1]), dtype=np.float32)]
        known = dict(self.numbers)
        for start in range(0, len(texts), _CHUNK):
            chunk = ([word for word in words(text) if word in known] for text in texts[start : start + _CHUNK])
            found = NumberedWords.of(chunk, known)
            has_words = found.lengths > 0
            rows = _weighted(_counts(found, len(known)), self.rarities)[np.flatnonzero(has_words)]
            parts.append((rows @ self.directions).astype(np.float32))
            kept.append(item_index[start : start + _CHUNK][has_words])
        return TextVectors(np.concatenate(kept), np.concatenate(parts))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays from which ``of_arrays`` makes the basis again."""
        names = [name.encode() for name in self.numbers]
        return {
            "letters": np.frombuffer(b"".join(names), dtype=np.uint8),
            "letter_offsets": offsets_of(lengths_of(names)),
            "rarities": self.rarities,
            "directions": self.directions,
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TfidfBasis:
        """Make a basis from the result of ``arrays``; KeyError or ValueError if they describe none."""
        letters, offsets = arrays["letters"].tobytes(), arrays["letter_offsets"].tolist()
        names = [letters[start:end].decode() for start, end in itertools.pairwise(offsets)]
        basis = cls({name: row for row, name in enumerate(names)}, arrays["rarities"], arrays["directions"])
        if not len(names) == len(basis.numbers) == len(basis.rarities) == len(basis.directions):
            raise ValueError("the number of words, weights and rows differs")
        return basis


def _counts(found: NumberedWords, num_words: int) -> sp.csr_array:
    """Return how often each text has each word, ``(T, W)``."""
    ones = np.ones(len(found.numbers))
    table = sp.csr_array((ones, found.numbers, offsets_of(found.lengths)), shape=(len(found.lengths), num_words))
    table.sum_duplicates()
    return table


def _weighted(counts: sp.csr_array, weights: NDArray[np.float32]) -> sp.csr_array:
    """Return the TF-IDF weights ``(T, W)``: (1 + log count) times rarity, scaled to rows of length 1."""
    table = counts.copy()
    table.data = (1.0 + np.log(counts.data)) * weights[counts.indices]
    lengths = np.sqrt(np.asarray((table * table).sum(axis=1)).ravel())
    return sp.csr_array(sp.diags_array(1.0 / np.where(lengths > 0, lengths, 1.0)) @ table)
