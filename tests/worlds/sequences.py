"""Sequences from lists of items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from semconv.data.store import Sequences


def sequences_of(rows: Sequence[Sequence[int]], times: np.ndarray | None = None) -> Sequences:
    """Give each user one row of items; times are unknown unless given."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    times = np.full(len(items), np.iinfo(np.int64).min) if times is None else times
    ratings = np.full(len(items), np.nan, dtype=np.float32)
    return Sequences([f"u{user}" for user in range(len(rows))], offsets, items, times, ratings)
