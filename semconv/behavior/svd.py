"""Behaviour vectors from a truncated SVD of the normalised interaction matrix: seconds on a CPU.

The matrix is ``D_u^-1/2 A D_i^-1/2`` with A the 0/1 interactions of the train cut (the graph view
of the paper's recommender, read as a matrix). With ``U S V^T`` its first D components the items are
``V S^p`` and the users ``U S^(1 - p)``, so that a user's dot product with an item is the rank-D
reconstruction of their cell.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

from semconv.behavior.vectors import BehaviorVectors, normalize
from semconv.columns import LEARNED
from semconv.config import BehaviorSettings
from semconv.errors import InputError
from semconv.store import Sequences

_DENSE_SIDE = 256  # below this side a dense SVD is faster than the iterative one, and never short of components
_ITEM_POWER = 0.5


def fit_svd(sequences: Sequences, num_items: int, settings: BehaviorSettings) -> BehaviorVectors:
    """Item and user vectors of everyone with at least one interaction in ``sequences``.

    Deterministic by ``settings.seed``. Where the data has fewer components than
    ``settings.dimensions``, the missing columns are zero: the width is always D.

    Args:
        sequences: the train part alone (``semconv.splits.train_part``).
        num_items: size of the catalogue; item indices lie below it.
    Raises:
        InputError: there is no interaction.
    """
    if len(sequences.items) == 0:
        raise InputError("no interaction is left to train on; ingest more, or lower split.k_core")
    user_of_row = np.repeat(np.arange(len(sequences)), sequences.lengths)
    users, rows = np.unique(user_of_row, return_inverse=True)
    items, columns = np.unique(sequences.items, return_inverse=True)
    if items[-1] >= num_items or items[0] < 0:
        raise InputError(
            f"item_index {items[-1] if items[-1] >= num_items else items[0]} lies outside the {num_items} items of the catalogue"
        )
    matrix = _normalized(rows, columns, (len(users), len(items)))
    left, values, right = _truncated_svd(matrix, settings.dimensions, settings.seed)
    item_vectors = right * values**_ITEM_POWER  # (M, D)
    user_vectors = left * values ** (1 - _ITEM_POWER)  # (V, D)
    return normalize(items, item_vectors, users.astype(np.int32), user_vectors, LEARNED)


def _normalized(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> sp.csr_array:
    matrix = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)  # (V, M)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0  # an item met twice counts once
    user_degree = matrix.sum(axis=1)  # (V,)
    item_degree = matrix.sum(axis=0)  # (M,)
    scaled = sp.diags_array(user_degree**-0.5) @ matrix @ sp.diags_array(item_degree**-0.5)
    return sp.csr_array(scaled)


def _truncated_svd(
    matrix: sp.csr_array, dimensions: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """``(V, D)``, ``(D,)`` descending and ``(M, D)``, zero where the matrix has no more components."""
    side = min(matrix.shape)
    if side <= max(_DENSE_SIDE, dimensions + 1):
        left, values, right_t = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        start = np.random.default_rng(seed).standard_normal(side)
        left, values, right_t = svds(matrix, k=dimensions, v0=start, solver="arpack")
    order = np.argsort(-values, kind="stable")[:dimensions]
    order = order[values[order] > 1e-10]  # noise of a rank-deficient matrix is no component
    left, values, right = left[:, order], values[order], right_t[order].T
    # The sign of a component is arbitrary: its largest item entry is made positive.
    signs = np.where(right[np.abs(right).argmax(axis=0), np.arange(len(order))] < 0, -1.0, 1.0)
    missing = dimensions - len(order)
    return (
        np.pad(left * signs, ((0, 0), (0, missing))),
        np.pad(values, (0, missing)),
        np.pad(right * signs, ((0, 0), (0, missing))),
    )
