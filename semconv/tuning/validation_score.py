"""What a validation during a training returns: the score of the lists as they would be served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

NDCG: Final = "ndcg@10"
SUCCESSOR_FACTOR: Final = "successor_factor"  # by which the trained weights of the successors are multiplied in lists


@dataclass(frozen=True)
class ValidationScore:
    """The score of a model for validation users.

    Attributes:
        ndcg: NDCG@10 of the lists.
        successor_factor: the factor of the successors in these lists; None for a model that does not score successors.
    """

    ndcg: float
    successor_factor: float | None = None

    def __str__(self) -> str:
        of_factor = (
            "" if self.successor_factor in (None, 1.0) else f", counts of successors times {self.successor_factor:g}"
        )
        return f"NDCG@10 {self.ndcg:.4f}{of_factor}"

    def figures(self) -> dict[str, float]:
        """Return the score as the run's files have it."""
        factor = {} if self.successor_factor is None else {SUCCESSOR_FACTOR: self.successor_factor}
        return {NDCG: self.ndcg, **factor}


Validate = Callable[[Any], ValidationScore]  # scores a model
