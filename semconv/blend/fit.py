"""Fitting a blend on validation users, and measuring it on users that it was not fitted on.

Users are split into two folds. The weights that are fitted on one fold rank the candidates of the other fold, for both
weighted sums, so no weight ranks a user that it was fitted on. The blend that is kept is fitted on all users.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semconv.blend.blend import Blend
from semconv.blend.candidates import Candidates, source_bit, with_beams
from semconv.blend.features import feature_names
from semconv.blend.tables import BlendTables, BlendUsers
from semconv.blend.weights import LogitWeights, fit_weights
from semconv.columns import METHOD_BLEND, METHOD_MODEL, SOURCE_TRANSITION
from semconv.metrics import target_ranks
from semconv.search.search import SearchResult

# Other items (B, n) -> the beams of the B users, and the scores of the other items.
Search = Callable[[NDArray[np.int64]], SearchResult]


@dataclass(frozen=True)
class FitSettings:
    """Settings of the fit of a blend.

    Attributes:
        num_proposals, shortlist_length: of the ``Blend``.
        l2: weight of the squared length of the standardised weights.
        list_length: K of the lists in which the held-out items are ranked.
        seed: seed of the folds.
    """

    num_proposals: int
    shortlist_length: int
    l2: float
    list_length: int
    seed: int


@dataclass(frozen=True)
class FittedBlend:
    """A blend, and the ranks of the users' held-out items.

    Attributes:
        blend: fitted on all users.
        ranks: method -> ``(B,)`` rank of each held-out item from 1, 0 for a miss. 'blend' ranks by the weights of the
            other fold, 'transition' ranks the proposals of the counter alone.
        num_fitted: users whose held-out item was a candidate.
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
    search: Search,
    settings: FitSettings,
) -> FittedBlend:
    """Fit the weights of the shortlist, search, and fit the weights of the scores.

    Args:
        users: B validation users, whose held-out items are not part of their histories.
        targets: ``(B,)`` held-out items.
        allowed: ``(I,)`` items that may be listed.
        search: the search of all users.
    """
    folds = np.random.default_rng(settings.seed).permutation(len(users)) % 2
    unfitted = LogitWeights((), *(np.zeros(0) for _ in range(3)))
    blend = Blend(tables, unfitted, unfitted, settings.num_proposals, settings.shortlist_length)
    proposed, features = blend.propose(users, allowed)
    first = _WeightedSum(feature_names(tables), features, proposed, targets, folds, settings.l2)
    chosen = proposed.best(first.fold_scores, blend.ties(proposed), settings.shortlist_length)
    shortlist = proposed.select(np.sort(chosen))
    others = shortlist.table(len(users))
    found = search(others)
    candidates, log_probs = with_beams(proposed, shortlist, others, found)
    features = blend.features(users, candidates, log_probs)
    second = _WeightedSum(blend.feature_names, features, candidates, targets, folds, settings.l2)
    lists, _, _ = blend.top_k(candidates, second.fold_scores, len(users), settings.list_length)
    ranks = {
        METHOD_MODEL: target_ranks(found.items[:, : settings.list_length], targets),
        METHOD_BLEND: target_ranks(lists, targets),
    }
    if tables.counter is not None:
        ranks[SOURCE_TRANSITION] = _counter_ranks(blend, users, proposed, targets, settings.list_length)
    fitted = replace(blend, shortlist_weights=first.weights, weights=second.weights)
    return FittedBlend(fitted, ranks, int(second.is_target.sum()), len(candidates.users))


class _WeightedSum:
    """The weights of one sum, fitted on all users, and scores by the weights of the other fold."""

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
        self.weights = fit_weights(names, features, candidates.users, self.is_target, l2)
        self.fold_scores = np.zeros(len(candidates.users))
        fold = folds[candidates.users]
        for held_out in (0, 1):
            is_fitted = fold != held_out
            weights = fit_weights(
                names, features[is_fitted], candidates.users[is_fitted], self.is_target[is_fitted], l2
            )
            self.fold_scores[~is_fitted] = weights.scores(features[~is_fitted])


def _counter_ranks(
    blend: Blend, users: BlendUsers, proposed: Candidates, targets: NDArray[np.int32], list_length: int
) -> NDArray[np.int64]:
    """Return the rank of each held-out item among the proposals of the counter."""
    counted = proposed.select((proposed.sources & source_bit(SOURCE_TRANSITION)) > 0)
    scores = np.zeros(len(counted.users))
    for start, stop, block in blend.blocks(users):
        low, high = np.searchsorted(counted.users, [start, stop])
        scores[low:high] = block.counter_scores(counted.users[low:high] - start, counted.items[low:high])
    lists, _, _ = blend.top_k(counted, scores, len(users), list_length)
    return target_ranks(lists, targets)
