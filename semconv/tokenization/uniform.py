"""Spread items evenly over the codes of a level, by the Sinkhorn algorithm.

The published tokenizer of LC-Rec (Zheng and others, 2023) trains the last level of its RQ-VAE in this way, so that few
items share all their codes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 50  # as in LC-Rec
_LOWEST_LOG = -690.0  # exp of it is still above zero in float64


def uniform_codes(distances: NDArray[np.floating], epsilon: float) -> NDArray[np.int64]:
    """Return for each item the code with the largest share of its mass in ``transport``, ``(n,)``."""
    found: NDArray[np.int64] = transport(distances, epsilon).argmax(axis=1).astype(np.int64)
    return found


def transport(distances: NDArray[np.floating], epsilon: float) -> NDArray[np.float64]:
    """Return a transport plan from n items to C codes, ``(n, C)``.

    The plan minimises the mean distance minus ``epsilon`` times the plan's entropy. Each item has the mass 1. After the
    last round, each code receives exactly the mass n / C, and the items have the mass 1 up to convergence.

    Args:
        distances: ``(n, C)``. As in LC-Rec, they are shifted and scaled to the range -1 to 1.
        epsilon: weight of the entropy, above 0. A small value gives a plan that is close to an assignment.
    """
    low, high = float(distances.min()), float(distances.max())
    scaled = (distances.astype(np.float64) - (low + high) / 2) / max((high - low) / 2, 1e-12)
    scaled -= scaled.min(axis=1, keepdims=True)  # does not change the plan, and prevents rows of zeros
    kernel = np.exp(np.maximum(scaled / -epsilon, _LOWEST_LOG))
    items, codes = kernel.shape
    weights = np.ones(codes)
    for _ in range(ROUNDS):
        rows = 1.0 / (kernel @ weights)  # (n,)
        weights = (items / codes) / (rows @ kernel)  # (C,)
    plan: NDArray[np.float64] = rows[:, None] * kernel * weights
    return plan
