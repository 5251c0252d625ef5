"""Behaviour vectors that the user already has, from their own recommender, checked before anything uses them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semconv.behavior.vectors import BehaviorVectors, history_means, normalize
from semconv.columns import GIVEN
from semconv.data.store import Sequences
from semconv.errors import InputError

_SHOWN = 3


def check_given(
    item_index: NDArray[np.integer],
    vectors: NDArray[np.floating] | Sequence[ArrayLike],
    sequences: Sequences | None = None,
    item_ids: Sequence[str] | None = None,
) -> BehaviorVectors:
    """Check given item vectors, centre and scale them; a user's vector is the mean of their items' vectors.

    Args:
        item_index: ``(M,)`` rows of the catalogue.
        vectors: ``(M, D)``, or M rows of one width.
        sequences: the train part, for the user vectors; users without an item that has a vector are absent.
        item_ids: names of the catalogue's items for messages, instead of their index.
    Raises:
        InputError: no rows, widths that differ, NaN or infinite values, an item twice; names the first ones.
    """
    index = np.asarray(item_index)
    if len(index) == 0:
        raise InputError(
            "the given behaviour vectors hold no item of the catalogue; check that item_id matches the ingested items"
        )
    if len(index) != len(vectors):
        raise InputError(f"{len(index)} items but {len(vectors)} given behaviour vectors")
    names: Sequence[str] = item_ids or ()
    matrix = _matrix(index, vectors, names)
    _refuse(index, np.logical_not(np.isfinite(matrix).all(axis=1)), "have NaN or infinite values", names)
    _, first = np.unique(index, return_index=True)
    is_repeated = np.ones(len(index), dtype=bool)
    is_repeated[first] = False
    _refuse(index, is_repeated, "come more than once", names)
    order = np.argsort(index, kind="stable")
    index, matrix = index[order].astype(np.int32), matrix[order]
    if sequences is None:
        return normalize(index, matrix, np.zeros(0, dtype=np.int32), np.zeros((0, matrix.shape[1])), GIVEN)
    users, user_vectors = history_means(index, matrix, sequences)
    return normalize(index, matrix, users, user_vectors, GIVEN)


def _matrix(
    index: NDArray[np.integer], vectors: NDArray[np.floating] | Sequence[ArrayLike], names: Sequence[str]
) -> NDArray[np.float64]:
    if not isinstance(vectors, np.ndarray) or vectors.dtype == object:
        rows = [np.asarray(row, dtype=np.float64).ravel() for row in vectors]
        widths = np.array([len(row) for row in rows])
        common = int(np.bincount(widths).argmax())
        _refuse(index, np.not_equal(widths, common), f"have another width than the {common} of most", names)
        vectors = np.stack(rows)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise InputError(
            f"given behaviour vectors must be rows of numbers of one width, got an array of shape {vectors.shape}"
        )
    return np.asarray(vectors, dtype=np.float64)


def _refuse(index: NDArray[np.integer], is_bad: NDArray[np.bool_], what: str, names: Sequence[str]) -> None:
    bad = index[is_bad]
    if len(bad):
        named = list(dict.fromkeys(bad.tolist()))
        shown = ", ".join(names[i] if len(names) else f"item_index {i}" for i in named[:_SHOWN])
        more = ", ..." if len(named) > _SHOWN else ""
        raise InputError(
            f"{len(bad)} of {len(index)} given behaviour vectors {what}: {shown}{more}; correct the file of behavior.vectors"
        )
