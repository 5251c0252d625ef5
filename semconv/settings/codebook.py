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
    levels: int = option(4, "Number of codebooks N. An item has one code from each.", low=1, high=6)
    codes: int = option(256, "Number of codes C in each codebook.", low=2, high=65535)
    alignment: float = option(
        0.1,
        "Weight lambda of the alignment with the backbone's input embeddings (paper, equation 3). 0 is plain residual"
        " k-means.",
        low=0,
    )
    shrinkage: float = option(
        10.0,
        "How strongly the vector of an item with few interactions is pulled towards the vector predicted from its text"
        " before the fit: the text counts as this many interactions. 0 turns this off.",
        low=0,
    )
    residual: Literal["signed", "absolute"] = option(
        "signed", "How a residual is computed. absolute follows the paper's equation 1 literally."
    )
    distance: Literal["l2", "cosine"] = option("l2", "Distance for assigning codes and for the reconstruction error.")
    alignment_distance: Literal["l2", "cosine"] = option("l2", "Distance of the alignment term.")
    assign_with: Literal["behavior", "both"] = option(
        "behavior",
        "How an item's nearest code is chosen: by its behaviour residual, or by the residual and its text vector together.",
    )
    collisions: Literal["resolve", "keep"] = option(
        "resolve", "Items with identical codes: resolve moves items until no two are identical, keep leaves them."
    )
    iterations: int = option(10, "k-means iterations per level.", low=1)
    start_candidates: int = option(
        1,
        "Rows drawn for each initial centroid; k-means++ takes the best of them. 1 is plain k-means++. More give a"
        " better start and take longer.",
        low=1,
    )
    sample: int = option(
        200_000,
        "Maximum number of items that the codebooks are fitted on, drawn at random. All items get codes. 0 fits on all"
        " items. With a million items, a sample twice as large takes half as long again and lowers the error by 1 %.",
        low=0,
    )
    seed: int = option(0, "Random seed of the k-means++ start and of the sample.", low=0)


@dataclass(frozen=True)
class RqvaeSettings:
    """The encoder and decoder around the codebooks, for codebook.method = rqvae."""

    hidden: int = option(128, "Width of the two hidden layers of the encoder and of the decoder.", low=1)
    epochs: int = option(100, "Number of passes over the items.", low=1)
    batch_size: int = option(1024, "Number of items in a batch.", low=1)
    learning_rate: float = option(1e-3, "Learning rate of Adam.", low=0)
    commitment: float = option(0.25, "Weight of the loss that pulls the encoder's outputs towards their codes.", low=0)
