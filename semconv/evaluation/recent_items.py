"""Rank items by their interactions in the weeks before each user's own moment: a baseline that follows what sells now."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semconv.blend.tables import EventDays
from semconv.counter.scores import popularity_order
from semconv.lists.fallback import fill_from_ranking


def rank_by_recent(
    events: EventDays,
    popularity: NDArray[np.int64] | NDArray[np.float64],
    days: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    seen: Sequence[NDArray[np.int32]] | None,
    *,
    width: int,
    k: int,
) -> NDArray[np.int32]:
    """Return the k items whose interactions in the ``width`` days up to each user's day weigh most.

    Of items with equal sums, the more popular one comes first; of equally popular ones, the lower item_index. For a
    user without a day, popularity alone decides.

    Args:
        events: days and weights of the interactions that are counted; later ones than a user's day do not count for the user.
        popularity: ``(I,)`` weight of all counted interactions of each item.
        days: ``(n,)`` day of each user in days since 1970, NaN where unknown.
        allowed: ``(I,)`` items that may be listed.
        seen: n arrays of item_index, the items that each user's list leaves out; None leaves nothing out.

    Returns:
        ``(n, k)`` item_index, -1 where a list is shorter.
    """
    items = np.flatnonzero(allowed)
    order = popularity_order(popularity)[items]
    result = np.full((len(days), k), -1, dtype=np.int32)
    for day in np.unique(days):  # NaN is one of the values
        rows = np.flatnonzero(np.isnan(days) if np.isnan(day) else days == day)
        counts = np.nan_to_num(events.count(items, np.full(len(items), day), width))
        ranking = items[np.lexsort((order, -counts))]
        shown = None if seen is None else [seen[row] for row in rows.tolist()]
        result[rows] = fill_from_ranking(result[rows], np.zeros((len(rows), k), dtype=np.float32), ranking, shown)[0]
    return result
