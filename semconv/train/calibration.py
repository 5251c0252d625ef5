"""Choose two numbers of a trained model on the validation users: what training sequences cannot teach it.

- The factor of the successors. In training, a label sees the counts without its own sequence, and the model learns some
  sequences by heart. So a trained model trusts the counts less than it should with users it has not learned.
- The weight of new items. An item that nobody has taken competes in no training step. So a trained model does not know how
  its score compares with those of the other items.

The search goes on in steps as long as the lists get better: as long as the mean of the paired differences of NDCG@10 is
larger than their standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.item_head.parts import NAME, NO_LIMIT

_FACTORS: Final = ((2.0, 4.0, 8.0, 16.0), (1 / 2, 1 / 4, 1 / 8, 1 / 16))
_HALVINGS: Final = 6
Score = Callable[[Any], NDArray[np.float64]]


def successor_factor(model: Any, ndcg_of: Score) -> float:
    """Return the best factor of 1, 2, 4, 8 and 16, or of 1/2, 1/4, 1/8 and 1/16 if 2 is no better than 1.

    The model is left as it was.

    Args:
        model: a model that scores successors.
        ndcg_of: computes the NDCG@10 ``(V,)`` of a model's lists for the validation users.
    """
    return _climb(1.0, _FACTORS, model, getattr(model, NAME).with_successors, ndcg_of)


def new_item_weight(model: Any, item_index: NDArray[np.integer], ndcg_of: Score) -> float:
    """Return the best number of items that all N new items count as together: ``NO_LIMIT``, or down to N / 64.

    A tuning that continues another one starts at the number of that one. The model is left as it was.

    Args:
        item_index: ``(M,)`` items that have codes; some of them are new.
        model, ndcg_of: as for ``successor_factor``.
    """
    parts = getattr(model, NAME)
    number = float(parts.new_shares(item_index).sum())
    start = min(parts.new_item_weight.item(), number)
    fewer = [start / 2**step for step in range(1, _HALVINGS + 1)]
    more = [min(start * 2**step, number) for step in range(1, _HALVINGS + 1) if start * 2 ** (step - 1) < number]
    found = _climb(start, (fewer, more), model, parts.with_new_item_weight, ndcg_of)
    return found if found < number else NO_LIMIT


def _climb(
    start: float,
    ways: Sequence[Sequence[float]],
    model: Any,
    changed: Callable[[float], AbstractContextManager[None]],
    ndcg_of: Score,
) -> float:
    """Return the last number of the first way on which the lists get better, or ``start`` if there is no such way.

    Args:
        ways: numbers to try one after the other, until one is no better than the one before.
        changed: opens a block in which the model has the given number.
    """

    def ndcg_with(number: float) -> NDArray[np.float64]:
        with changed(number):
            return ndcg_of(model)

    first = ndcg_with(start)
    for way in ways:
        found, best = start, first
        for number in way:
            tried = ndcg_with(number)
            if not _is_better(tried, best):
                break
            found, best = number, tried
        if found != start:
            return found
    return start


def _is_better(found: NDArray[np.float64], before: NDArray[np.float64]) -> bool:
    differences = found - before
    if len(differences) < 2:
        return False
    return bool(differences.mean() > differences.std(ddof=1) / np.sqrt(len(differences)))
