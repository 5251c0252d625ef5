"""The data of the users whose lists a training scores after each epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semconv.data.histories import Histories
from semconv.item_head.prompts import MomentEvents
from semconv.item_head.successors import SuccessorTable
from semconv.search.code_scores import Normalization


@dataclass(frozen=True)
class Validation:
    """The data of V validation users.

    Attributes:
        histories: the histories and seen items of the users.
        targets: ``(V,)`` the held-out item of each user.
        is_allowed: ``(I,)`` items that may be listed.
        is_masked: whether lists leave out seen items.
        scores: the tokens over which the search normalises the probability of a code.
        popularity: ``(M,)`` training interactions of the items with codes.
        moments: the day on which each user is asked, for a model that reads items or dates; None for another.
        successors: how often items follow each other; None for a model that does not score this.
    """

    histories: Histories
    targets: NDArray[np.int32]
    is_allowed: NDArray[np.bool_]
    is_masked: bool
    scores: Normalization
    popularity: NDArray[np.int64]
    moments: MomentEvents | None
    successors: SuccessorTable | None

    def of_users(self, users: NDArray[np.int64]) -> Validation:
        """Return the data of some of the users, ``(n,)`` of the V."""
        moments = None if self.moments is None else self.moments.of_users(users)
        return replace(self, histories=self.histories.of_users(users), targets=self.targets[users], moments=moments)
