"""Draw items that a user will reject: first disliked items, then random items (paper, Negative sampling task)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import find, row_of
from semconv.tasks.data import TaskData

_MAX_REDRAWS = 8


def draw_negatives(data: TaskData, k: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw k negative items ``(n, k)`` for each row of ``data.items``, -1 where no item is left.

    The first negatives of a row are the items that the user disliked, returned or rejected in another way at this
    position or later, the nearest first. The remaining negatives are
    drawn uniformly from all items that have codes and are not in the user's training sequence. For ``k = 0`` the result
    is ``(n, 1)`` with -1.
    """
    num_rows = len(data.items)
    if k == 0 or num_rows == 0:
        return np.full((num_rows, max(1, k)), -1, dtype=np.int32)
    row_user = data.users()
    touched = np.unique(row_of(data.touched.lengths) * data.num_items + data.touched.items)
    drawn = rng.choice(data.coded_items, size=num_rows * k)  # (n * k,)
    user = np.repeat(row_user, k)
    wrong = np.arange(len(drawn))
    for _ in range(_MAX_REDRAWS):
        _, is_touched = find(touched, user[wrong] * data.num_items + drawn[wrong])
        wrong = wrong[is_touched]
        if not len(wrong):
            break
        drawn[wrong] = rng.choice(data.coded_items, size=len(wrong))
    for one in np.unique(user[wrong]):  # users with nearly every item: draw from the remaining items, if there are any
        slots = wrong[user[wrong] == one]
        left = np.setdiff1d(data.coded_items, data.touched.of(int(one)))
        drawn[slots] = rng.choice(left, size=len(slots)) if len(left) else -1
    table = drawn.reshape(num_rows, k)
    _put_rejected_first(data, row_user, table)
    return table.astype(np.int32, copy=False)


def _put_rejected_first(data: TaskData, row_user: NDArray[np.int64], drawn: NDArray[np.int32]) -> None:
    """Replace the first columns of ``drawn`` by the user's rejected items at or after each row, the nearest first."""
    disliked = np.flatnonzero(~data.is_label)
    users = np.concatenate([data.rejected.users, row_user[disliked]])
    if not len(users):
        return
    rows = np.concatenate([data.rejected.rows, disliked])
    items = np.concatenate([data.rejected.items, data.items[disliked]])
    size = len(row_user) + 1  # a row may be the end of all rows
    keys = users * size + rows
    order = np.argsort(keys, kind="stable")
    keys, users, items = keys[order], users[order], items[order]
    following = np.searchsorted(keys, row_user * size + np.arange(len(row_user)))  # (n,) first one from each row on
    for column in range(drawn.shape[1]):
        at = np.minimum(following + column, len(keys) - 1)
        is_own = (following + column < len(keys)) & (users[at] == row_user)
        drawn[is_own, column] = items[at[is_own]]
