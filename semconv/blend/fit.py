"""Fitting a blend on validation users, and what it gives on users that it was not fitted on.

Two folds of users: the weights of one rank the users of the other, in both steps, so that every rank is of weights
that never saw the user. What is kept in the end is fitted on all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semconv.blend.blend import Blend, Candidates, SearchAndScore, best_rows, source_bit, with_model
from semconv.blend.features import feature_names
from semconv.blend.tables import BlendTables, BlendUsers
from semconv.blend.weights import LogitWeights, fit_weights
from semconv.columns import SOURCE_TRANSITION
from semconv.metrics import target_ranks


@dataclass(frozen=True)
class FitSettings:
    """How a blend is fitted.

    Attributes:
        proposals, shortlist: as of ``Blend``.
        l2: weight of the squared length of the standardised weights.
        list_length: K of the lists that are ranked to say what the blend gives.
        seed: of the folds.
    """

    proposals: int
    shortlist: int
    l2: float
    list_length: int
    seed: int


@dataclass(frozen=True)
class FittedBlend:
    """A blend and the ranks of the users' targets.

    Attributes:
        blend: fitted on all users.
        ranks: method or part -> ``(B,)`` rank of each target from 1, 0 for a miss: 'model' and 'blend', the latter by
            weights fitted on the other fold; of the parts alone ('transition', 'neighbor') what they propose.
        num_fitted: users whose target was a candidate.
        num_candidates: candidates of all users.
    """

    blend: Blend
    ranks: dict[str, NDArray[np.int64]]
    num_fitted: int
    num_candidates: int


def fit_blend(
    tables: BlendTables,
    users: BlendUsers,
    targets: NDArray[np.int32],
    allowed: NDArray[np.bool_],
    search_and_score: SearchAndScore,
    settings: FitSettings,
) -> FittedBlend:
    """Fit both steps of a blend.

    Args:
        users: B validation users, their targets not among their histories.
        targets: ``(B,)`` held-out items.
        allowed: ``(I,)`` items that may be listed.
    """
    folds = np.random.default_rng(settings.seed).permutation(len(users)) % 2
    nothing = LogitWeights((), *(np.zeros(0) for _ in range(3)))
    blend = Blend(tables, nothing, nothing, settings.proposals, settings.shortlist)
    proposed, features = blend.proposed(users, allowed)
    first = _Step(feature_names(tables), features, proposed, targets, folds, settings.l2)
    chosen = best_rows(proposed, first.crossed, blend.ties(proposed), settings.shortlist)
    shortlist = proposed.rows(np.sort(chosen))
    candidates, log_probs, (beams, _) = with_model(proposed, shortlist, len(users), search_and_score)
    features = blend.features(users, candidates, log_probs)
    second = _Step(blend.feature_names, features, candidates, targets, folds, settings.l2)
    lists, _, _ = blend.ranked(candidates, second.crossed, len(users), settings.list_length)
    ranks = {"model": target_ranks(beams[:, : settings.list_length], targets), "blend": target_ranks(lists, targets)}
    if tables.counter is not None:
        ranks[SOURCE_TRANSITION] = _ranks_of_counter(blend, users, proposed, targets, settings.list_length)
    fitted = replace(blend, first=first.whole, weights=second.whole)
    return FittedBlend(fitted, ranks, int(second.is_target.sum()), len(candidates.users))


class _Step:
    """One weighted sum: weights of all users, and scores by weights of the other fold."""

    def __init__(
        self,
        names: tuple[str, ...],
        features: NDArray[np.float32],
        candidates: Candidates,
        targets: NDArray[np.int32],
        folds: NDArray[np.int64],
        l2: float,
    ) -> None:
        self.is_target = candidates.items == targets[candidates.users]
        self.whole = fit_weights(names, features, candidates.users, self.is_target, l2)
        self.crossed = np.zeros(len(candidates.users))
        fold = folds[candidates.users]
        for held in (0, 1):
            mine = fold != held
            weights = fit_weights(names, features[mine], candidates.users[mine], self.is_target[mine], l2)
            self.crossed[~mine] = weights.scores(features[~mine])


def _ranks_of_counter(
    blend: Blend, users: BlendUsers, proposed: Candidates, targets: NDArray[np.int32], list_length: int
) -> NDArray[np.int64]:
    """Ranks of the counter's own order, as far as it proposes."""
    mine = proposed.rows((proposed.sources & source_bit(SOURCE_TRANSITION)) > 0)
    scores = np.zeros(len(mine.users))
    for start, stop, block in blend.blocks(users):
        low, high = np.searchsorted(mine.users, [start, stop])
        scores[low:high] = block.counter_scores(mine.users[low:high] - start, mine.items[low:high])
    lists, _, _ = blend.ranked(mine, scores, len(users), list_length)
    return target_ranks(lists, targets)
