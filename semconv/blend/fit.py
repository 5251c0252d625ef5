"""Fit a blend on validation users, and measure it by cross-validation.

Users are split into two folds. For the measurement, weights that were fitted on one fold rank the candidates of the
other fold, in both weighted sums. So no user's candidates are ranked by weights that were fitted on this user. The
saved blend is fitted on all users.
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

# A search for all B users. Its argument is the items (B, n) that the model scores in addition to the items it finds.
Search = Callable[[NDArray[np.int64]], SearchResult]


@dataclass(frozen=True)
class FitSettings:
    """Settings for fitting a blend.

    Attributes:
        num_proposals, shortlist_length: as in ``Blend``.
        l2: strength of the L2 penalty on the weights of the standardised features.
        list_length: length K of the lists in which held-out items are ranked.
        seed: seed of the random split into folds.
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
        blend: the blend, fitted on all users.
        ranks: for each method ``(B,)`` rank of each held-out item from 1, 0 for a miss. 'model' ranks by the model
            alone, 'blend' by weights fitted on the other fold, 'transition' by the transition counter alone.
        num_fitted: number of users whose held-out item was a candidate; the fit ignores all other users.
        num_candidates: total number of candidates of all users.
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
    """Fit the weights of the shortlist, search with the model, and fit the weights of the final scores.

    Args:
        users: B validation users; their histories do not contain their held-out items.
        targets: ``(B,)`` item_index of the held-out items.
        allowed: ``(I,)`` whether each item may be listed.
        search: runs the model's search for all users.
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
    """One weighted sum: weights fitted on all users, and for each fold scores with weights fitted on the other fold."""

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
    """Return the rank of each held-out item among the items that the transition counter proposes, 0 for a miss."""
    counted = proposed.select((proposed.sources & source_bit(SOURCE_TRANSITION)) > 0)
    scores = np.zeros(len(counted.users))
    for start, stop, block in blend.blocks(users):
        low, high = np.searchsorted(counted.users, [start, stop])
        scores[low:high] = block.counter_scores(counted.users[low:high] - start, counted.items[low:high])
    lists, _, _ = blend.top_k(counted, scores, len(users), list_length)
    return target_ranks(lists, targets)
