"""Rank items for held-out items without interactions: the newest items, and the items whose texts are like the history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from semconv.backbone.text_vectors import TextVectors
from semconv.behavior.vectors import BehaviorVectors
from semconv.blend.tables import unit_vectors
from semconv.columns import GIVEN
from semconv.counter.scores import history_matrix
from semconv.data.histories import Histories
from semconv.evaluation.vector_ranking import rank_by_vectors
from semconv.lists.fallback import fill_from_ranking


def rank_newest(
    popularity: NDArray[np.int64],
    allowed: NDArray[np.bool_],
    num_users: int,
    seen: Sequence[NDArray[np.int32]] | None,
    k: int,
) -> NDArray[np.int32]:
    """Return the k items without interactions that came last into the catalogue, ``(n, k)``; -1 where there are fewer.

    Args:
        popularity: ``(I,)`` counted interactions. A larger item_index came later into the catalogue.
        allowed: ``(I,)`` items that may be listed.
        seen: n arrays of item_index that each user's list leaves out; None leaves nothing out.
    """
    newest = np.flatnonzero(allowed & (popularity == 0))[::-1].astype(np.int32)
    empty = np.full((num_users, k), -1, dtype=np.int32)
    return fill_from_ranking(empty, np.zeros((num_users, k), dtype=np.float32), newest, seen)[0]


def rank_by_text(
    texts: TextVectors,
    histories: Histories,
    users: NDArray[np.int32],
    allowed: NDArray[np.bool_],
    seen: Sequence[NDArray[np.int32]] | None,
    shape: tuple[int, int, float],
) -> NDArray[np.int32]:
    """Return the k items whose text vectors are nearest to those of the history, by cosine, ``(n, k)``.

    The mean text vector of all items is subtracted from each vector. The vector of a history is the weighted mean of the
    unit vectors of its latest items; the weight of an item is (recency + 1)^-decay. A user without such an item has an
    empty list.

    Args:
        histories: of all users.
        users: ``(n,)`` user_index.
        allowed: ``(I,)`` items that may be listed.
        seen: n arrays of item_index that each user's list leaves out; None leaves nothing out.
        shape: k, the number of latest items of a history, and the decay.
    """
    k, length, decay = shape
    known = texts.item_index < len(allowed)
    if not known.any():
        return np.full((len(users), k), -1, dtype=np.int32)
    vectors = texts.vectors[known] - texts.vectors.mean(axis=0)
    table = unit_vectors(texts.item_index[known], vectors, len(allowed))
    items, lengths = histories.latest(users, length)
    profiles = np.asarray(history_matrix(items, lengths, len(allowed), decay) @ table, dtype=np.float32)  # (n, D)
    has_text = np.flatnonzero(table.any(axis=1)).astype(np.int32)
    asked = np.flatnonzero(profiles.any(axis=1))
    zero = np.zeros(table.shape[1], dtype=np.float32)
    compared = BehaviorVectors(has_text, table[has_text], users[asked], profiles[asked], zero, 1.0, GIVEN)
    return rank_by_vectors(compared, users, allowed, seen, k)
