"""Okapi BM25 over titles: the ranking of a shop's plain text search (Robertson & Zaragoza 2009, eq. 3.15)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from semconv.ragged import lengths_of, row_of

_WORD = re.compile(r"[a-z0-9]+")


def words(text: str) -> list[str]:
    """Split a text into lower-case words of letters and digits. Apostrophes do not split words."""
    return _WORD.findall(text.lower().replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", ""))


class Bm25:
    """An index of documents that scores them for queries.

    The idf of a word is ``log(1 + (N - n + 0.5) / (n + 0.5))``, which is never negative.
    """

    def __init__(self, documents: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        """Index I texts. An empty text never matches."""
        counts = [Counter(words(text)) for text in documents]
        self.vocabulary = {
            word: number for number, word in enumerate(dict.fromkeys(w for each in counts for w in each))
        }
        document = row_of(lengths_of(counts))
        word = np.array([self.vocabulary[each] for count in counts for each in count], dtype=np.int64)
        frequency = np.array([number for count in counts for number in count.values()], dtype=np.float64)
        lengths = np.array([count.total() for count in counts], dtype=np.float64)
        containing = np.bincount(word, minlength=len(self.vocabulary))  # (V,) documents with the word
        idf = np.log1p((len(counts) - containing + 0.5) / (containing + 0.5))
        damping = k1 * (1 - b + b * lengths[document] / max(lengths.mean(), 1e-12))
        weight = idf[word] * frequency * (k1 + 1) / (frequency + damping)
        self.weights = sparse.csr_array((weight, (word, document)), shape=(len(self.vocabulary), len(counts)))

    def scores(self, query: str) -> NDArray[np.float64]:
        """Return the score of each document, ``(I,)``. A word that the query repeats counts several times."""
        rows = [self.vocabulary[word] for word in words(query) if word in self.vocabulary]
        return np.asarray(self.weights[rows].sum(axis=0)).ravel()
