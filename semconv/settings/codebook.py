"""Settings of the sections [codebook] and [rqvae]: codes of the items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.settings.option import option


@dataclass(frozen=True)
class CodebookSettings:
    """Codebooks and the codes of the items (paper, equations 1 to 3)."""

    method: Literal["residual", "rqvae"] = option(
        "residual",
        "residual quantises the behaviour vectors directly. rqvae trains an encoder and a decoder and quantises the"
        " encoder's output (paper, Table 3, row ED).",
    )
    levels: int = option(4, "Number of codebooks N. An item has one code from each codebook.", low=1, high=6)
    codes: int = option(256, "Number of codes C in each codebook.", low=2, high=65535)
    alignment: float = option(
        0.1,
        "Weight lambda of the alignment with the backbone's input embeddings (paper, equation 3). 0 is plain residual"
        " k-means.",
        low=0,
    )
    shrinkage: float = option(
        10.0,
        "Before the codebooks are fitted, an item's vector is shrunk towards the vector predicted from the item's"
        " text. The prediction weighs as much as this many interactions, so items with few interactions change most. 0"
        " turns this off.",
        low=0,
    )
    residual: Literal["signed", "absolute"] = option(
        "signed",
        "Residual that the next level quantises. signed is the vector minus its centroid. absolute is the absolute"
        " value of that, as equation 1 of the paper literally says.",
    )
    distance: Literal["l2", "cosine"] = option(
        "l2", "Distance that decides which code is nearest, and that measures the reconstruction error."
    )
    alignment_distance: Literal["l2", "cosine"] = option(
        "l2", "Distance between vectors in the alignment term (paper, equation 3)."
    )
    assign_with: Literal["behavior", "both"] = option(
        "behavior",
        "How an item's nearest code is chosen. behavior compares the residual of its behaviour vector. both compares"
        " that residual and the item's text vector together.",
    )
    collisions: Literal["resolve", "keep"] = option(
        "resolve",
        "What happens to items with identical codes. resolve moves items to other codes until no two items are"
        " identical. keep leaves them as they are.",
    )
    iterations: int = option(10, "Number of k-means iterations per level.", low=1)
    start_candidates: int = option(
        1,
        "Number of vectors that k-means++ draws for each initial centroid. It takes the best of them. 1 is plain"
        " k-means++. Larger numbers give a better start and take longer.",
        low=1,
    )
    sample: int = option(
        200_000,
        "Maximum number of items that the codebooks are fitted on, drawn at random. All items get codes. 0 fits on all"
        " items. With a million items, a sample twice as large takes 1.5 times as long and lowers the reconstruction"
        " error by 1 %.",
        low=0,
    )
    seed: int = option(0, "Random seed for the k-means++ start and for the sample of items.", low=0)


@dataclass(frozen=True)
class RqvaeSettings:
    """The encoder and the decoder that are trained with the codebooks if codebook.method = rqvae."""

    hidden: int = option(128, "Width of the two hidden layers of the encoder and of the decoder.", low=1)
    epochs: int = option(100, "Number of training passes over the items.", low=1)
    batch_size: int = option(1024, "Number of items in a batch.", low=1)
    learning_rate: float = option(1e-3, "Learning rate of the Adam optimizer for the encoder and the decoder.", low=0)
    commitment: float = option(0.25, "Weight of the loss that pulls the encoder's outputs to their centroids.", low=0)
