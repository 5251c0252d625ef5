"""The steps of k-means as matrix products over chunks of rows: nothing of size rows x codes x width ever exists."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_CHUNK_CELLS = 1 << 20  # distances computed at once: 4 MB, which stays in cache
_START_ROWS = 32_768  # k-means++ looks at so many rows at least, a fixed sample of a larger set


def nearest(points: Floats, features: Floats, offsets: Floats) -> NDArray[np.int64]:
    """Index of the lowest ``offsets_c - 2 points . features_c`` of each row, the first of equals, ``(M,)``.

    With ``features`` the centroids and ``offsets`` their squared norms this is the nearest in squared L2;
    an infinite offset takes a code out.

    Args:
        points: ``(M, D)``.
        features: ``(C, D)``.
        offsets: ``(C,)``.
    """
    transposed = np.ascontiguousarray(features.T) * np.float32(-2)  # (D, C)
    rows = max(1, _CHUNK_CELLS // max(1, len(features)))
    codes = np.empty(len(points), dtype=np.int64)
    for start in range(0, len(points), rows):
        scores = points[start : start + rows] @ transposed  # (rows, C)
        scores += offsets
        scores.argmin(axis=1, out=codes[start : start + rows])
    return codes


def sums_by_code(points: Floats, codes: NDArray[np.int64], num_codes: int) -> NDArray[np.float64]:
    """Sum of the points of each code in float64, ``(C, D)``."""
    sums = np.zeros((num_codes, points.shape[1]))
    rows = 1 << 16
    for start in range(0, len(points), rows):
        part = codes[start : start + rows]
        membership = sp.csc_array((np.ones(len(part)), part, np.arange(len(part) + 1)), shape=(num_codes, len(part)))
        sums += membership @ points[start : start + rows].astype(np.float64)
    return sums


def squared_norms(points: Floats) -> Floats:
    """Squared length of each row, ``(M,)``."""
    norms: Floats = np.einsum("md,md->m", points, points)
    return norms


def start_rows(points: Floats, num_codes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """k-means++: rows drawn with probability proportional to the squared distance to those already drawn.

    Every drawn row is at a distance from all before it, so fewer than ``num_codes`` rows come back
    where there are fewer distinct points. With a code for every point there is nothing to draw: the
    distinct rows come in their order.
    """
    if num_codes >= len(points):
        return np.sort(np.unique(points, axis=0, return_index=True)[1])
    limit = max(_START_ROWS, 4 * num_codes)
    sample = np.arange(len(points)) if len(points) <= limit else np.sort(rng.choice(len(points), limit, replace=False))
    pool = np.ascontiguousarray(points[sample])
    chosen = [int(rng.integers(len(pool)))]
    distances = squared_norms(pool - pool[chosen[0]])  # by difference: exactly zero for a copy
    while len(chosen) < num_codes:
        running = np.cumsum(distances, dtype=np.float64)
        if running[-1] <= 0:
            break
        row = int(np.searchsorted(running, rng.random() * running[-1], side="right"))
        if row == len(pool):  # the product above was rounded up to the total
            row = int(np.flatnonzero(distances)[-1])
        chosen.append(row)
        np.minimum(distances, squared_norms(pool - pool[row]), out=distances)
    return sample[chosen]
