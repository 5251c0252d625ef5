"""Checks of given behaviour vectors: vectors that were made outside semconv, for example by another recommender."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semconv.behavior.vectors import BehaviorVectors, history_means, normalize
from semconv.columns import GIVEN
from semconv.data.store import Sequences
from semconv.errors import InputError

_NAMED = 3  # number of items that a message names


def check_given(
    item_index: NDArray[np.integer],
    vectors: NDArray[np.floating] | Sequence[ArrayLike],
    sequences: Sequences,
    item_ids: Sequence[str],
) -> BehaviorVectors:
    """Check given item vectors, centre and scale them, and compute user vectors from them.

    A user's vector is the mean of the vectors of the user's items.

    Args:
        item_index: ``(M,)`` the item of each vector.
        vectors: ``(M, D)``, or M rows of the same length.
        sequences: the train part; a user gets no vector if none of the user's items has one.
        item_ids: ids of all items of the catalogue, for messages.

    Raises:
        InputError: there are no vectors, their lengths differ, a value is NaN or infinite, or an item has two vectors.
            The message names the first such items.
    """
    index = np.asarray(item_index)
    if len(index) == 0:
        raise InputError(
            "none of the given behaviour vectors belongs to an item of the catalogue;"
            " check that item_id matches the ingested items"
        )
    if len(index) != len(vectors):
        raise InputError(f"{len(index)} items but {len(vectors)} given behaviour vectors; give each item one vector")
    matrix = _matrix(index, vectors, item_ids)
    _refuse(index, np.logical_not(np.isfinite(matrix).all(axis=1)), "have NaN or infinite values", item_ids)
    _, first = np.unique(index, return_index=True)
    is_repeated = np.ones(len(index), dtype=bool)
    is_repeated[first] = False
    _refuse(index, is_repeated, "belong to an item that has several", item_ids)
    order = np.argsort(index, kind="stable")
    index, matrix = index[order].astype(np.int32), matrix[order]
    users, user_vectors = history_means(index, matrix, sequences)
    return normalize(index, matrix, users, user_vectors, GIVEN)


def _matrix(
    index: NDArray[np.integer], vectors: NDArray[np.floating] | Sequence[ArrayLike], item_ids: Sequence[str]
) -> NDArray[np.float64]:
    if not isinstance(vectors, np.ndarray) or vectors.dtype == object:
        rows = [np.asarray(row, dtype=np.float64).ravel() for row in vectors]
        widths = np.array([len(row) for row in rows])
        common = int(np.bincount(widths).argmax())
        _refuse(index, np.not_equal(widths, common), f"do not have {common} numbers like most", item_ids)
        vectors = np.stack(rows)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise InputError(
            f"given behaviour vectors must be rows of numbers of the same length, got an array of shape {vectors.shape}"
        )
    return np.asarray(vectors, dtype=np.float64)


def _refuse(index: NDArray[np.integer], is_bad: NDArray[np.bool_], fault: str, item_ids: Sequence[str]) -> None:
    bad = index[is_bad]
    if len(bad):
        distinct = list(dict.fromkeys(bad.tolist()))
        named = ", ".join(item_ids[item] for item in distinct[:_NAMED])
        more = ", ..." if len(distinct) > _NAMED else ""
        raise InputError(
            f"{len(bad)} of {len(index)} given behaviour vectors {fault}: {named}{more};"
            " correct the file of behavior.vectors"
        )
