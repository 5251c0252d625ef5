"""Rank the answers to questions in words: one weighted sum of text matching, the model and the user's history.

Weights come from held-out queries: queries of users whose answer, the item that the user took next, is known and was not
trained on. Without such queries, text matching alone ranks the answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semconv.blend.weights import LogitWeights, fit_weights
from semconv.metrics import target_ranks
from semconv.questions.features import MODEL, POPULARITY, TEXT, USER_BLEND, USER_MODEL, WORDS, Scored
from semconv.ragged import position_among_equal

NAMED_SCORE: Final = 1000.0  # added to the scores of items that the question names, so that they come first
MEANT_SCORE: Final = 500.0  # added to the scores of items of the kind that the question means without naming it
SURE: Final = 0.8  # probability of a kind from which on a question means it
FEWEST_QUERIES: Final = 10
FEWEST_NAMING: Final = 10
_L2: Final = 1e-3
# Weights without held-out queries. A history decides between items whose texts match about equally well.
_TEXT_ALONE: Final[Mapping[str, float]] = {WORDS: 1.0, TEXT: 1.0, USER_BLEND: 0.3}
_WITHOUT_BLEND: Final[Mapping[str, float]] = {WORDS: 1.0, TEXT: 1.0, USER_MODEL: 0.3}
_WITHOUT_WORDS: Final[Mapping[str, float]] = {MODEL: 1.0}
_BY_VECTORS: Final[Mapping[str, float]] = {TEXT: 1.0}


@dataclass(frozen=True)
class Fusion:
    """The weights by which answers are ranked.

    Attributes:
        weights: weights of the features; features without a weight count nothing.
        names_first: whether items that the question names come before all others.
        kinds_first: whether items of the kind that a question means, but does not name, come before all others.
    """

    weights: LogitWeights
    names_first: bool = True
    kinds_first: bool = True

    def scores(self, scored: Scored) -> NDArray[np.float64]:
        """Return the scores ``(n,)`` of the candidates."""
        scores = self.weights.scores(_columns(scored, self))
        if self.kinds_first:
            scores = scores + MEANT_SCORE * (scored.kinds == meant_kinds(scored, scores)[scored.candidates.users])
        return scores + NAMED_SCORE * scored.is_named if self.names_first else scores


def meant_kinds(scored: Scored, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the kind that each question means, ``(B,)``; -2 where no kind is sure or the question names items.

    Text matching decides, and where it is not sure of a kind, the given scores.

    Args:
        scores: ``(n,)`` scores of the candidates.
    """
    by_text = _sure_kinds(scored, text_alone(scored.names).weights.scores(_columns(scored, text_alone(scored.names))))
    names = np.array([len(match.named) > 0 for match in scored.matches], dtype=bool)
    return np.where(names, -2, np.where(by_text >= 0, by_text, _sure_kinds(scored, scores)))


def _sure_kinds(scored: Scored, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the kind ``(B,)`` whose candidates are the answer with a probability of at least ``SURE``, -2 for none.

    The probability of an item is the softmax of the scores, and the probability of a kind is the sum over its items.
    """
    questions, count = scored.candidates.users, len(scored.matches)
    best = np.full(count, -np.inf)
    np.maximum.at(best, questions, scores)
    powers = np.exp(scores - best[questions])
    shares = powers / np.bincount(questions, powers, minlength=count)[questions]
    pairs, of_pair = np.unique(np.stack([questions, scored.kinds]), axis=1, return_inverse=True)
    sums = np.bincount(of_pair.ravel(), shares, minlength=pairs.shape[1])
    is_sure = (sums >= SURE) & (pairs[1] >= 0)  # at most one kind of a question
    result = np.full(count, -2, dtype=np.int64)
    result[pairs[0, is_sure]] = pairs[1, is_sure]
    return result


def _columns(scored: Scored, fusion: Fusion) -> NDArray[np.float64]:
    """Return the features of a fusion as columns ``(n, F)``, NaN for a feature that was not computed."""
    column_of = {name: column for column, name in enumerate(scored.names)}
    table = np.full((len(scored.features), len(fusion.weights.names)), np.nan)
    for column, name in enumerate(fusion.weights.names):
        if name in column_of:
            table[:, column] = scored.features[:, column_of[name]]
    return table


def fixed(weights: Mapping[str, float]) -> Fusion:
    """Return a fusion with given weights of the features as they are."""
    zeros = np.zeros(len(weights))
    return Fusion(LogitWeights(tuple(weights), zeros, zeros + 1.0, np.array(list(weights.values()))))


def text_alone(names: tuple[str, ...]) -> Fusion:
    """Return the fusion for questions without held-out queries: text matching, and the history of a user."""
    return fixed(_TEXT_ALONE if USER_BLEND in names else _WITHOUT_BLEND)


def without_words(names: tuple[str, ...]) -> Fusion | None:
    """Return the fusion for a question of which no item has a word: the model, else text vectors; None without both."""
    if MODEL in names:
        return fixed(_WITHOUT_WORDS)
    return fixed(_BY_VECTORS) if TEXT in names else None


@dataclass(frozen=True)
class FittedFusion:
    """A fusion that was fitted on held-out queries.

    Attributes:
        fusion: fitted on all queries.
        fold_scores: ``(n,)`` scores of the candidates, each by weights fitted on the other half of the queries.
        num_fitted: number of queries whose item was a candidate; the fit ignores all other queries.
    """

    fusion: Fusion
    fold_scores: NDArray[np.float64]
    num_fitted: int


def fit_fusion(
    scored: Scored, targets: NDArray[np.int32], kind_of: NDArray[np.int64], *, names_first: bool, seed: int
) -> FittedFusion | None:
    """Fit the weights on held-out queries; None if fewer than ten queries have their item among the candidates.

    Args:
        targets: ``(B,)`` item_index of the answer to each query.
        kind_of: ``(I,)`` most special kind of each item (``WordIndex.kinds``).
    """
    questions, items = scored.candidates.users, scored.candidates.items
    is_target = items == targets[questions]
    if is_target.sum() < FEWEST_QUERIES:
        return None
    penalty = max(_L2, 0.1 / int(is_target.sum()))

    def fitted(rows: NDArray[np.bool_]) -> Fusion:
        chosen = (scored.features[rows], questions[rows], is_target[rows])
        return Fusion(fit_weights(scored.names, *chosen, penalty), names_first, kinds_first=False)

    fold = (np.random.default_rng(seed).permutation(len(targets)) % 2)[questions]
    halves = [fitted(fold != part) for part in (0, 1)]
    plain = np.where(fold == 0, *(half.weights.scores(scored.features) for half in halves))
    meant = meant_kinds(scored, plain)
    is_right = (meant == kind_of[targets])[meant >= 0]
    kinds_first = len(is_right) < FEWEST_NAMING or bool(is_right.mean() >= SURE)
    halves = [replace(half, kinds_first=kinds_first) for half in halves]
    scores = np.where(fold == 0, *(half.scores(scored) for half in halves))
    whole = replace(fitted(np.ones(len(items), dtype=bool)), kinds_first=kinds_first)
    return FittedFusion(whole, scores, int(is_target.sum()))


def naming_share(scored: Scored, targets: NDArray[np.int32]) -> tuple[int, float]:
    """Return how many queries name items, and the share of these whose item is among the named ones."""
    named = [
        target in match.named
        for match, target in zip(scored.matches, targets.tolist(), strict=True)
        if len(match.named)
    ]
    return len(named), float(np.mean(named)) if named else 0.0


def names_first(scored: Scored, targets: NDArray[np.int32]) -> bool:
    """Return whether named items come first: unless held-out queries that name items mostly mean other items."""
    count, share = naming_share(scored, targets)
    return count < FEWEST_NAMING or share >= 0.5


def best_answers(
    scored: Scored, scores: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the best ``count`` items of each question with their scores, ``(B, count)``; -1 and -inf fill short lists.

    Items with equal scores are ranked by popularity.
    """
    popularity = scored.features[:, scored.names.index(POPULARITY)]
    order = np.lexsort((scored.candidates.items, -popularity, -scores, scored.candidates.users))
    place = position_among_equal(scored.candidates.users[order])
    rows = order[place < count]
    cells = (scored.candidates.users[rows], place[place < count])
    items = np.full((len(scored.matches), count), -1, dtype=np.int32)
    values = np.full(items.shape, -np.inf)
    items[cells], values[cells] = scored.candidates.items[rows], scores[rows]
    return items, values


def ranks_by(name: str, scored: Scored, targets: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Return the rank of each query's item if one feature alone ranks the candidates, 0 for a miss, ``(B,)``."""
    values: NDArray[Any] = scored.features[:, scored.names.index(name)]
    scores = np.nan_to_num(values.astype(np.float64), nan=-np.inf)
    return target_ranks(best_answers(scored, scores, count)[0], targets)
