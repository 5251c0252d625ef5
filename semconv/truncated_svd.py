"""The truncated singular value decomposition of a sparse matrix, with the same result for the same input."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import svds

DENSE_SIDE = 256  # up to this size a dense SVD is faster than an iterative one, and finds all components


def truncated_svd(matrix: sp.csr_array, dimensions: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest singular values ``(D,)``, descending, and the right components ``(columns, D)``, zero-padded."""
    side = min(matrix.shape)
    if side <= max(DENSE_SIDE, dimensions + 1):
        _, values, right_t = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        start = np.random.default_rng(seed).standard_normal(side)
        _, values, right_t = svds(matrix, k=dimensions, v0=start, solver="arpack", return_singular_vectors="vh")
    order = np.argsort(-values, kind="stable")[:dimensions]
    order = order[values[order] > 1e-10]  # smaller values are rounding noise
    return signed_and_padded(values[order], right_t[order].T, dimensions)


def signed_and_padded(
    values: NDArray[np.float64], right: NDArray[np.float64], dimensions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Make the largest entry (by absolute value) of each component positive, and add missing components as zeros."""
    if len(values):
        right = right * np.where(right[np.abs(right).argmax(axis=0), np.arange(len(values))] < 0, -1.0, 1.0)
    missing = dimensions - len(values)
    return np.pad(values, (0, missing)), np.pad(right, ((0, 0), (0, missing)))
