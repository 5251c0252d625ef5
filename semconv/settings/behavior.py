"""Settings of the sections [behavior] and [dccf]: behaviour vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.settings.option import option


@dataclass(frozen=True)
class BehaviorSettings:
    """Behaviour vectors: a vector for each item, learned from interactions."""

    source: Literal["svd", "dccf", "given"] = option(
        "svd",
        "How behaviour vectors are made. svd decomposes a matrix of interactions. dccf trains DCCF, the graph"
        " recommender of the paper. given reads item vectors from the Parquet file behavior.vectors.",
    )
    graph: Literal["transitions", "interactions"] = option(
        "transitions",
        "Matrix that is decomposed if behavior.source = svd. transitions is items by items: two items weigh more"
        " the closer together they are in a sequence. interactions is users by items.",
    )
    dimensions: int = option(32, "Number of dimensions D of a behaviour vector.", low=2)
    vectors: str = option(
        "",
        "Parquet file with the columns item_id and vector, for behavior.source = given. A relative path in"
        " semconv.toml starts at the project folder.",
    )
    seed: int = option(0, "Random seed of the SVD, or of the initial weights and the samples of DCCF.", low=0)


@dataclass(frozen=True)
class DccfSettings:
    """The graph recommender DCCF, which computes the behaviour vectors if behavior.source = dccf."""

    epochs: int = option(100, "Maximum number of training epochs of DCCF.", low=1)
    batches_per_epoch: int = option(40, "Number of batches in a training epoch of DCCF.", low=1)
    batch_size: int = option(
        2048,
        "Number of triples (user, positive item, negative item) in a batch. The time for the contrastive loss"
        " grows with the square of the batch size.",
        low=1,
    )
    learning_rate: float = option(1e-3, "Learning rate of the Adam optimizer for DCCF.", low=0)
    layers: int = option(2, "Number of graph propagation layers of DCCF.", low=1)
    intents: int = option(128, "Number of intent vectors for users, and the same number for items.", low=1)
    ego_weight: float = option(2.5e-5, "Weight of the L2 penalty on the user and item embeddings of a batch.", low=0)
    intent_weight: float = option(5e-3, "Weight of the L2 penalty on the intent vectors.", low=0)
    contrast_weight: float = option(0.1, "Weight of the contrastive loss between the views of the graph.", low=0)
    temperature: float = option(1.0, "Temperature of the contrastive loss.", low=0.01)
    validation_users: int = option(
        5000, "Number of users on whom DCCF is validated after each epoch. 0 turns validation off.", low=0
    )
    patience: int = option(
        10, "Training of DCCF stops after this many validations in a row without a better recall@20.", low=1
    )
    checkpoint_seconds: int = option(60, "Seconds between two checkpoints within a training epoch of DCCF.", low=1)
