"""Weights of a blend: a conditional logit of the held-out item among a user's candidates (McFadden 1974).

The score of a candidate is the weighted sum of its features. A softmax over the scores of a user's candidates gives
the probability of each candidate. The loss is the mean negative log likelihood of the held-out items plus an L2 penalty
on the weights. The loss is convex, and L-BFGS finds its minimum in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray


@dataclass(frozen=True)
class LogitWeights:
    """Weights of standardised features, with the means and scales that standardise them.

    Attributes:
        names: names of the F features.
        mean, scale: ``(F,)`` mean and standard deviation of each feature; a feature that never varies has scale 0.
        weights: ``(F,)`` weights of the standardised features.
    """

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]

    def plain(self) -> dict[str, Any]:
        """Return values that JSON can hold, from which ``of_plain`` makes the weights again."""
        arrays = {name: getattr(self, name).tolist() for name in ("mean", "scale", "weights")}
        return {"names": list(self.names), **arrays}

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> LogitWeights:
        """Return the weights of ``plain``."""
        arrays = (np.array(plain[name], dtype=np.float64) for name in ("mean", "scale", "weights"))
        return cls(tuple(plain["names"]), *arrays)

    def standardize(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return features ``(n, F)`` minus ``mean``, divided by ``scale``, with 0 where unknown (NaN)."""
        scaled = (features - self.mean) * np.divide(
            1.0, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0
        )
        return np.nan_to_num(scaled, nan=0.0, copy=False)

    def scores(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores ``(n,)`` of candidates: the weighted sums of their features ``(n, F)``."""
        return np.asarray(self.standardize(features) @ self.weights)

    @property
    def slopes(self) -> NDArray[np.float64]:
        """The amount that one unit of each feature, before standardising, adds to a score, ``(F,)``."""
        return np.divide(self.weights, self.scale, out=np.zeros_like(self.weights), where=self.scale > 0)


def fit_weights(
    names: Sequence[str],
    features: NDArray[np.floating],
    users: NDArray[np.int64],
    is_target: NDArray[np.bool_],
    l2: float,
) -> LogitWeights:
    """Fit the weights that give the held-out items the highest probability among the candidates of their users.

    Args:
        names: names of the F features.
        features: ``(n, F)`` features of the candidates, NaN where unknown.
        users: ``(n,)`` the user of each candidate, ascending.
        is_target: ``(n,)`` whether a candidate is the held-out item; users without such a candidate are ignored.
        l2: strength of the L2 penalty.

    Returns:
        the weights; all are 0 if no user has the held-out item among the candidates.
    """
    kept = np.isin(users, users[is_target])
    rows, targets = features[kept].astype(np.float64), is_target[kept]
    num_features = features.shape[1]
    if not targets.any():
        zeros = np.zeros(num_features)
        return LogitWeights(tuple(names), zeros, zeros, zeros)
    unknown = np.isnan(rows)
    count = np.maximum((~unknown).sum(axis=0), 1)
    mean = np.where(unknown, 0.0, rows).sum(axis=0) / count
    centred = np.where(unknown, 0.0, rows - mean)
    scale = np.sqrt((centred**2).sum(axis=0) / count)
    scale[scale < 1e-9 * np.maximum(1.0, np.abs(mean))] = 0.0  # below this, a feature varies only by rounding errors
    start = LogitWeights(tuple(names), mean, scale, np.zeros(num_features))
    found = scipy.optimize.minimize(
        _Likelihood(start.standardize(rows), users[kept], targets, l2),
        start.weights,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 1000},
    )
    return LogitWeights(tuple(names), mean, scale, np.asarray(found.x, dtype=np.float64))


class _Likelihood:
    """Computes the loss and its gradient for given weights."""

    def __init__(
        self, rows: NDArray[np.float64], users: NDArray[np.int64], is_target: NDArray[np.bool_], l2: float
    ) -> None:
        _, self._group = np.unique(users, return_inverse=True)
        self._starts = np.flatnonzero(np.diff(self._group, prepend=-1))
        self._rows, self._targets, self._l2 = rows, is_target, l2
        self._of_targets = rows[is_target].sum(axis=0)

    def __call__(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = self._rows @ weights
        largest = np.maximum.reduceat(scores, self._starts)
        powers = np.exp(scores - largest[self._group])
        sums = np.add.reduceat(powers, self._starts)
        log_sums = np.log(sums) + largest
        count = len(self._starts)
        loss = (log_sums.sum() - scores[self._targets].sum()) / count + self._l2 * weights @ weights
        expected = (powers / sums[self._group]) @ self._rows
        return float(loss), (expected - self._of_targets) / count + 2 * self._l2 * weights
