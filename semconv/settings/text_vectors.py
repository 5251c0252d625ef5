"""Settings of the section [text]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.settings.option import option

TextKind = Literal["mean", "idf", "hidden", "tfidf", "none"]
TextChoice = Literal["auto", "mean", "idf", "hidden", "tfidf", "none"]


@dataclass(frozen=True)
class TextSettings:
    """Text vectors: a vector for each item, from the words of its title and description."""

    vectors: TextChoice = option(
        "auto",
        "How text vectors are made. mean is the mean of the backbone's input embeddings over the tokens of a text, as in"
        " the paper. idf is the same mean, with a larger weight for rare tokens. hidden is the mean of the backbone's"
        " hidden states; it needs a forward pass for each text. tfidf is the TF-IDF weights of the words, reduced to"
        " text.dimensions numbers by a truncated SVD; it needs no backbone. none makes no text vectors:"
        " codes and lists then do not depend on texts, and items without interactions get no codes. auto is tfidf for the"
        " built-in backbone, and mean for a pretrained one.",
    )
    dimensions: int = option(256, "Maximum number of dimensions of a text vector, if text.vectors = tfidf.", low=2)
    seed: int = option(0, "Random seed of the truncated SVD and of the sample of texts for it.", low=0)
