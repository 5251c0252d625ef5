"""Items that a user will hate: disliked ones first, then random ones (paper, Negative sampling task)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import find, row_of
from semconv.tasks.data import TaskData

_MAX_REDRAWS = 8


def draw_negatives(data: TaskData, k: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """``(n, k)`` items for each row, -1 where nothing is left; ``(n, 1)`` of -1 for ``k = 0``.

    First the user's disliked items that are still to come, then uniform draws over the items with codes outside
    the user's whole training sequence.
    """
    num_rows = len(data.items)
    if k == 0 or num_rows == 0:
        return np.full((num_rows, max(1, k)), -1, dtype=np.int32)
    num_items = len(data.titles)
    user_of_row = row_of(np.diff(data.offsets))
    touched = np.unique(row_of(data.touched.lengths) * num_items + data.touched.items)
    drawn = rng.choice(data.candidates, size=num_rows * k)  # (n * k,)
    user = np.repeat(user_of_row, k)
    wrong = np.arange(len(drawn))
    for _ in range(_MAX_REDRAWS):
        _, is_touched = find(touched, user[wrong] * num_items + drawn[wrong])
        wrong = wrong[is_touched]
        if not len(wrong):
            break
        drawn[wrong] = rng.choice(data.candidates, size=len(wrong))
    for one in np.unique(user[wrong]):  # users who touched nearly everything: from what is left, if anything is
        places = wrong[user[wrong] == one]
        left = np.setdiff1d(data.candidates, data.touched.of(int(one)))
        drawn[places] = rng.choice(left, size=len(places)) if len(left) else -1
    table = drawn.reshape(num_rows, k)
    _put_disliked_first(data, user_of_row, table)
    return table.astype(np.int32, copy=False)


def _put_disliked_first(data: TaskData, user_of_row: NDArray[np.int64], drawn: NDArray[np.int32]) -> None:
    """Replace the first columns by the user's disliked items at or after the row, nearest first."""
    disliked = np.flatnonzero(~data.is_label)
    if not len(disliked):
        return
    following = np.searchsorted(disliked, np.arange(len(user_of_row)))  # (n,) first disliked row at or after
    for column in range(drawn.shape[1]):
        row = disliked[np.minimum(following + column, len(disliked) - 1)]
        is_own = (following + column < len(disliked)) & (user_of_row[row] == user_of_row)
        drawn[is_own, column] = data.items[row[is_own]]
