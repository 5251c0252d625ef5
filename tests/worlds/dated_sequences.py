"""Sequences of random items on random days."""

from __future__ import annotations

import numpy as np

from semconv.data.store import Sequences

DAY = 86_400_000_000


def dated_sequences(lengths: list[int], num_items: int, seed: int = 0) -> Sequences:
    """Return users with histories of these lengths, within 900 days."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    total = int(offsets[-1])
    times = np.concatenate([np.sort(rng.integers(0, 900, length)) for length in lengths]) * DAY
    return Sequences(
        [f"u{user}" for user in range(len(lengths))],
        offsets,
        rng.integers(0, num_items, total).astype(np.int32),
        times,
        np.full(total, np.nan, dtype=np.float32),
        cuts=None,
    )
