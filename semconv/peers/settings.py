"""The settings of a peer's network and of its training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PeerSettings:
    """The shape of a network, and how it is trained. A setting that a network does not use changes nothing there."""

    width: int = 64
    blocks: int = 2
    heads: int = 2
    history: int = 20
    dropout: float = 0.3
    learning_rate: float = 1e-3
    batch: int = 128  # windows in a step
    masked_share: float = 0.2  # of the items of a window that BERT4Rec predicts
    negatives: int = 1024  # items drawn uniformly for each step of a sampled epoch
    sampled_epochs: int = 0  # first epochs whose loss compares the target with drawn items; others use all items
    seed: int = 0


@dataclass(frozen=True)
class Peer:
    """A peer that is trained and measured: its network, what the network reads besides items, and how long it trains.

    Attributes:
        name: one of the names in ``peers.registry``.
        dates: whether the network reads the dates of events.
        texts: whether the network reads the text vectors of items.
        processor_seconds: the limit on the training; 0 for the limits of the section ``tuning``.
    """

    name: str
    dates: bool = False
    texts: bool = False
    processor_seconds: float = 0.0


@dataclass(frozen=True)
class Limits:
    """When a training stops: at the first limit that it reaches.

    Attributes:
        epochs: number of epochs.
        samples: number of training samples, which are predicted labels; 0 means no limit.
        patience: number of validations in a row without a better NDCG@10.
        processor_seconds: processor time of the training, without validation; 0 means no limit. The weights of a
            training that this limit ends are not reproducible.
    """

    epochs: int
    samples: int = 0
    patience: int = 3
    processor_seconds: float = 0.0
