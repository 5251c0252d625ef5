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
from semconv.columns import METHOD_BLEND, METHOD_MODEL, METHOD_WITHOUT_MODEL, SOURCE_TRANSITION
from semconv.metrics import target_ranks
from semconv.search.search import ITEM_SCORE, SearchResult


@dataclass(frozen=True)
class ModelSearch:
    """A search with a model for all B users.

    Attributes:
        run: searches; its argument is the items ``(B, n)`` that the model scores in addition to the items it finds.
        score_name: name of the model's scores, one of ``MODEL_SCORES``.
    """

    run: Callable[[NDArray[np.int64]], SearchResult]
    score_name: str


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
            alone, 'blend' and 'blend-without-model' by weights fitted on the other fold, 'transition' by the transition
            counter alone.
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
    search: ModelSearch | None,
    settings: FitSettings,
) -> FittedBlend:
    """Fit the weights of the shortlist, search with the model, and fit the weights of the final scores.

    Args:
        users: B validation users; their histories do not contain their held-out items.
        targets: ``(B,)`` item_index of the held-out items.
        allowed: ``(I,)`` whether each item may be listed.
        search: the model's search; None to fit without a model.
    """
    folds = np.random.default_rng(settings.seed).permutation(len(users)) % 2
    unfitted = LogitWeights((), *(np.zeros(0) for _ in range(3)))
    scores_all = search is not None and search.score_name == ITEM_SCORE
    shortlist_length = None if scores_all else settings.shortlist_length
    blend = Blend(tables, unfitted, None, settings.num_proposals, shortlist_length)
    proposed, features = blend.propose(users, allowed)
    first = _WeightedSum(feature_names(tables), features, proposed, targets, folds, settings.l2)
    fitted = FittedBlend(
        replace(blend, weights_without_model=first.weights),
        {METHOD_WITHOUT_MODEL: _ranks(blend, proposed, first.fold_scores, targets, settings.list_length)},
        int(first.is_target.sum()),
        len(proposed.users),
    )
    if tables.counter is not None:
        fitted.ranks[SOURCE_TRANSITION] = _counter_ranks(blend, users, proposed, targets, settings.list_length)
    if search is None:
        return fitted
    shortlist = proposed.select(np.sort(blend.shortlist(proposed, first.fold_scores)))
    others = shortlist.table(len(users))
    found = search.run(others)
    candidates, log_probs = with_beams(proposed, shortlist, others, found)
    model_scores = {search.score_name: log_probs}
    features = blend.features(users, candidates, model_scores)
    second = _WeightedSum(blend.feature_names(model_scores), features, candidates, targets, folds, settings.l2)
    ranks = {
        METHOD_MODEL: target_ranks(found.items[:, : settings.list_length], targets),
        METHOD_BLEND: _ranks(blend, candidates, second.fold_scores, targets, settings.list_length),
        **fitted.ranks,
    }
    both = replace(fitted.blend, weights=second.weights)
    return FittedBlend(both, ranks, int(second.is_target.sum()), len(candidates.users))


def _ranks(
    blend: Blend, candidates: Candidates, scores: NDArray[np.float64], targets: NDArray[np.int32], list_length: int
) -> NDArray[np.int64]:
    """Return the rank of each held-out item in the lists of the best candidates, 0 for a miss."""
    lists, _, _ = blend.top_k(candidates, scores, len(targets), list_length)
    return target_ranks(lists, targets)


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
    is_counted = scores > 0  # two hops propose items that the counter does not know
    return _ranks(blend, counted.select(is_counted), scores[is_counted], targets, list_length)
