"""The steps of k-means, as matrix products over blocks of rows.

Memory holds the distances of one block at a time, never an array of rows x codes x width.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Codes = NDArray[np.uint16]

_CHUNK_CELLS = 1 << 20  # number of distances computed at once: 4 MB, which fits into the CPU cache
_SAMPLE_STREAM = 1
_START_ROWS = 32_768  # k-means++ draws from a sample of at least this many rows


def chunk_rows(num_codes: int) -> int:
    """Return the number of rows whose distances to ``num_codes`` codes are computed at once."""
    return max(1, _CHUNK_CELLS // max(1, num_codes))


def nearest(points: Floats, features: Floats, offsets: Floats, scores: Floats | None = None) -> NDArray[np.int64]:
    """Return for each row the code c with the lowest ``offsets_c - 2 points . features_c``, ``(M,)``.

    With centroids as ``features`` and the squared norms of the centroids as ``offsets``, this code is the nearest
    centroid in squared L2 distance.
    An infinite offset excludes a code. If several codes have the lowest value, the first of them is returned.

    Args:
        points: ``(M, D)``.
        features: ``(C, D)``.
        offsets: ``(C,)``.
        scores: a buffer ``(chunk_rows(C) or M, C)`` for the distances; callers that work in blocks reuse one buffer.
    """
    transposed = np.ascontiguousarray(features.T) * np.float32(-2)  # (D, C)
    rows = chunk_rows(len(features))
    codes = np.empty(len(points), dtype=np.int64)
    if scores is None:
        scores = np.empty((min(rows, len(points)), len(features)), dtype=np.float32)
    for start in range(0, len(points), rows):
        block = points[start : start + rows]
        part = np.matmul(block, transposed, out=scores[: len(block)])  # (rows, C)
        part += offsets
        part.argmin(axis=1, out=codes[start : start + rows])
    return codes


def sums_by_code(points: Floats, codes: NDArray[np.int64], num_codes: int) -> NDArray[np.float64]:
    """Return the sum of the points of each code in float64, ``(C, D)``."""
    sums = np.zeros((num_codes, points.shape[1]))
    rows = 1 << 16
    for start in range(0, len(points), rows):
        part = codes[start : start + rows]
        membership = sp.csc_array((np.ones(len(part)), part, np.arange(len(part) + 1)), shape=(num_codes, len(part)))
        sums += membership @ points[start : start + rows].astype(np.float64)
    return sums


def squared_norms(points: Floats) -> Floats:
    """Return the squared length of each row, ``(M,)``."""
    norms: Floats = np.einsum("md,md->m", points, points)
    return norms


def sample_rows(num_rows: int, size: int, seed: int) -> NDArray[np.int64] | None:
    """Draw ``size`` different row numbers with the seed, and return them in ascending order.

    Returns:
        ``(size,)``; or None, which means all rows, if ``size`` is 0 or there are not more than ``size`` rows.
    """
    if size == 0 or num_rows <= size:
        return None
    rng = np.random.default_rng([seed, _SAMPLE_STREAM])  # independent of the draws of the fit
    return np.sort(rng.choice(num_rows, size, replace=False))


def start_rows(points: Floats, num_codes: int, rng: np.random.Generator, candidates: int = 1) -> NDArray[np.int64]:
    """Choose the rows that k-means starts from, by k-means++ (Arthur and Vassilvitskii 2007).

    Each row is drawn with a probability proportional to its squared distance from the rows chosen so far. Greedy
    k-means++ (section 6) draws several ``candidates`` at each step, and chooses the row that leaves the lowest sum of
    squared distances. The greedy choice avoids outliers, which are often drawn but rarely good centroids.

    Returns:
        up to ``num_codes`` rows with different points; fewer if there are fewer different points. If there are enough
        codes for all points, nothing is drawn, and the result is all different points in their order.
    """
    if num_codes >= len(points):
        return np.sort(np.unique(points, axis=0, return_index=True)[1])
    limit = max(_START_ROWS, 4 * num_codes)
    sample = np.arange(len(points)) if len(points) <= limit else np.sort(rng.choice(len(points), limit, replace=False))
    pool = np.ascontiguousarray(points[sample])
    norms = squared_norms(pool)
    difference = np.empty_like(pool)
    chosen = [int(rng.integers(len(pool)))]
    distances = squared_norms(pool - pool[chosen[0]])  # the difference is exactly zero for a copy
    while len(chosen) < num_codes:
        running = np.cumsum(distances, dtype=np.float64)
        if running[-1] <= 0:
            break
        drawn = np.searchsorted(running, rng.random(candidates) * running[-1], side="right")
        if drawn.max() == len(pool):  # rounding lifted the product above to the total
            drawn[drawn == len(pool)] = np.flatnonzero(distances)[-1]
        row = int(drawn[0]) if candidates == 1 else _best_candidate(pool, norms, distances, drawn)
        chosen.append(row)
        np.minimum(distances, squared_norms(np.subtract(pool, pool[row], out=difference)), out=distances)
    return sample[chosen]


def _best_candidate(pool: Floats, norms: Floats, distances: Floats, drawn: NDArray[np.int64]) -> int:
    """Return the row of ``drawn`` that, as a new centroid, most reduces the sum of squared ``distances`` ``(n,)``."""
    left = (pool[drawn] * np.float32(-2)) @ pool.T  # (candidates, n)
    left += norms
    left += norms[drawn][:, None]
    np.clip(left, 0, distances, out=left)
    return int(drawn[left.sum(axis=1).argmin()])
