"""Choose how much the counts of successors weigh in the lists of a trained model.

In training, a label sees the counts without its own sequence, and the model learns some sequences by heart. So a trained
model trusts the counts less than it should with users it has not learned. After the training, one factor multiplies the
weights of the counts. It is chosen on the validation users, among items with training interactions: a new item has no
counts, so a larger factor would hide it and seem better because of that alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.item_head.parts import NAME
from semconv.tuning.validation_score import ValidationScore

_STEP: Final = 2.0
_MOST: Final = 16.0


@dataclass(frozen=True)
class ServedScore:
    """Score a model during its training by the lists that it would serve: the counts weigh as much as they will then.

    Attributes:
        ndcg: computes the NDCG@10 ``(V,)`` of a model's lists for validation users.
        among_known: the same among items with training interactions, for some of these users, because a choice of the
            factor makes several lists for each; None for a model that scores no successors.
        fixed: the factor of the settings, None to choose one.
    """

    ndcg: Callable[[Any], NDArray[np.float64]]
    among_known: Callable[[Any], NDArray[np.float64]] | None
    fixed: float | None = None

    def __call__(self, model: Any) -> ValidationScore:
        """Return the score of a model."""
        if self.among_known is None:
            return ValidationScore(float(self.ndcg(model).mean()))
        factor = successor_factor(model, self.among_known) if self.fixed is None else self.fixed
        with getattr(model, NAME).with_successors(factor):
            return ValidationScore(float(self.ndcg(model).mean()), factor)


def successor_factor(model: Any, ndcg_of: Callable[[Any], NDArray[np.float64]]) -> float:
    """Return the best factor of 1, 2, 4, 8 and 16, or of 1/2, 1/4, 1/8 and 1/16 if 2 is no better than 1.

    A factor counts as better than the one before if the mean of the paired differences of NDCG@10 is larger than their
    standard error. The model is left as it was.

    Args:
        model: a model that scores successors.
        ndcg_of: computes the NDCG@10 ``(V,)`` of a model's lists for validation users, among known items.
    """
    parts = getattr(model, NAME)

    def ndcg_with(factor: float) -> NDArray[np.float64]:
        with parts.with_successors(factor):
            return ndcg_of(model)

    start = ndcg_with(1.0)
    for step in (_STEP, 1 / _STEP):
        factor, best = 1.0, start
        while 1 / _MOST < factor < _MOST and _is_better(found := ndcg_with(factor * step), best):
            factor, best = factor * step, found
        if factor != 1.0:
            return factor
    return 1.0


def _is_better(found: NDArray[np.float64], before: NDArray[np.float64]) -> bool:
    differences = found - before
    if len(differences) < 2:
        return False
    return bool(differences.mean() > differences.std(ddof=1) / np.sqrt(len(differences)))
