"""Settings of the sections [codebook] and [rqvae]: codes of the items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from semconv.errors import SettingsError
from semconv.settings.option import option

USEFUL_R2: Final = 0.02  # below this share of the variance, text says almost nothing about behaviour


@dataclass(frozen=True)
class CodebookSettings:
    """Codebooks and the codes of the items (paper, equations 1 to 3)."""

    method: Literal["residual", "rqvae"] = option(
        "residual",
        "How codes are made from behaviour vectors. residual quantises the vectors directly. rqvae trains an"
        " encoder and a decoder and quantises the encoder's output (paper, Table 3, row ED).",
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
        " text. The predicted vector weighs as much as this number of interactions, so the vectors of items with"
        " few interactions change most. 0 turns shrinkage off.",
        low=0,
    )
    min_text_r2: float = option(
        USEFUL_R2,
        "Alignment and shrinkage are turned off if text explains less than this share of the variance of held-out"
        " behaviour vectors. 0 never turns them off.",
        low=0,
        high=1,
    )
    residual: Literal["signed", "absolute"] = option(
        "signed",
        "Residual that the next level quantises. signed is the difference between a vector and its centroid."
        " absolute is the absolute value of this difference, as equation 1 of the paper is printed.",
    )
    distance: Literal["l2", "cosine"] = option(
        "l2", "Distance measure that is used to find the nearest code and to compute the reconstruction error."
    )
    alignment_distance: Literal["l2", "cosine"] = option(
        "l2", "Distance measure in the alignment loss (paper, equation 3)."
    )
    assign_with: Literal["behavior", "both"] = option(
        "behavior",
        "How an item's nearest code is chosen. behavior compares the residual of its behaviour vector. both compares"
        " that residual and the item's text vector together.",
    )
    collisions: Literal["resolve", "keep"] = option(
        "resolve",
        "What semconv does if several items get the same codes. resolve gives all but the most popular of these"
        " items other codes. keep lets items share codes.",
    )
    iterations: int = option(10, "Number of k-means iterations per level.", low=1)
    start_candidates: int = option(
        1,
        "Number of vectors that k-means++ draws as candidates for each initial centroid. The best candidate"
        " becomes the centroid. 1 is plain k-means++. Larger numbers give better initial centroids and take"
        " longer.",
        low=1,
    )
    sample: int = option(
        200_000,
        "Maximum number of items that the codebooks are fitted on. From a larger catalogue this number of items"
        " is drawn at random. All items get codes, also items that are not drawn for the fit. 0 fits on all items."
        " For a catalogue of a million items, doubling the sample makes the fit take 1.5 times as long and lowers"
        " the reconstruction error by 1 %.",
        low=0,
    )
    seed: int = option(0, "Random seed for the k-means++ start and for the sample of items.", low=0)


def require_rqvae(settings: CodebookSettings) -> None:
    """Raise SettingsError for absolute residuals or cosine distances, which the method rqvae does not support."""
    if settings.residual != "signed" or "cosine" in (settings.distance, settings.alignment_distance):
        raise SettingsError(
            "codebook.method = rqvae supports only codebook.residual = signed and l2 distances; set these, or codebook.method = residual"
        )


@dataclass(frozen=True)
class RqvaeSettings:
    """The encoder and the decoder that are trained with the codebooks if codebook.method = rqvae."""

    hidden: int = option(128, "Width of the two hidden layers of the encoder and of the decoder.", low=1)
    epochs: int = option(100, "Number of passes over the items to train the encoder and the decoder.", low=1)
    batch_size: int = option(1024, "Number of items in a training batch of the encoder and the decoder.", low=1)
    learning_rate: float = option(1e-3, "Learning rate of the Adam optimizer for the encoder and the decoder.", low=0)
    commitment: float = option(
        0.25, "Weight of the commitment loss, which pulls the encoder's outputs towards their centroids.", low=0
    )
    restart: bool = option(
        True,
        "After each epoch, restart the codes that no item had in the epoch, each from the residual of a random item."
        " Otherwise most codes of the first level can stay unused.",
    )
    sinkhorn_epsilon: float = option(
        0.0,
        "In training, the items of a batch are spread evenly over the codes of the last level by the Sinkhorn algorithm"
        " with this weight of the entropy. The published tokenizer of LC-Rec has 0.003. 0 gives each item its nearest"
        " code. After the training, each item gets its nearest code in both cases.",
        low=0,
    )
