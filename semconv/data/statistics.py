"""Statistics of the interactions, as in the paper's Table 2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semconv.data.store import Sequences

LONG_SEQUENCE = 20  # the paper counts users whose sequence has more interactions than this


@dataclass(frozen=True)
class DataStatistics:
    """The size of a data set. Only users and items with interactions count.

    Attributes:
        sparsity: share of the pairs of a user and an item that have no interaction; NaN without interactions.
        average_length: interactions of a user; NaN without interactions.
        long_user_share: share of the users with more than ``LONG_SEQUENCE`` interactions; NaN without interactions.
        items_without_interactions: number of further items of the catalogue.
    """

    users: int
    items: int
    interactions: int
    sparsity: float
    average_length: float
    long_user_share: float
    items_without_interactions: int


def data_statistics(sequences: Sequences, num_items: int) -> DataStatistics:
    """Count users, items and interactions.

    Args:
        num_items: number of items of the catalogue.
    """
    lengths = sequences.lengths[sequences.lengths > 0]
    users, interactions = len(lengths), int(lengths.sum())
    items = len(np.unique(sequences.items))
    if interactions == 0:
        return DataStatistics(0, 0, 0, float("nan"), float("nan"), float("nan"), num_items)
    # Someone may have the same item several times, so count pairs and not interactions.
    pairs = len(np.unique(np.repeat(np.arange(len(sequences)), sequences.lengths) * num_items + sequences.items))
    return DataStatistics(
        users,
        items,
        interactions,
        1.0 - pairs / (users * items),
        interactions / users,
        float((lengths > LONG_SEQUENCE).mean()),
        num_items - items,
    )
