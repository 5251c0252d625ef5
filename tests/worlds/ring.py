"""Users that walk round a ring of items, each from another start, so that the next item is certain."""

from __future__ import annotations

import numpy as np

from benchmarks.peers.sasrec_training import SequenceData
from semconv.data.core import train_part
from semconv.peers.settings import PeerSettings
from tests.worlds.sequences import sequences_of

SMALL = PeerSettings(width=16, heads=1, dropout=0.1, learning_rate=1e-2, batch=32, history=6)


def ring(num_users: int = 120, num_items: int = 30) -> SequenceData:
    """The users of the ring, with the train cut ``[:-2]``."""
    rng = np.random.default_rng(0)
    rows = [((rng.integers(num_items) + np.arange(rng.integers(5, 12))) % num_items).tolist() for _ in range(num_users)]
    whole = sequences_of(rows)
    train = train_part(whole, "[:-2]", 1, num_items)
    return SequenceData("ring", whole, train, [f"i{n}" for n in range(num_items)], np.ones(num_items, dtype=bool))
