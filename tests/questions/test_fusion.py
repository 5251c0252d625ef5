"""Ranking of answers: fixed and fitted weights, named items, masks, and held-out queries that mean something else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semconv.backbone.text_vectors import TextVectors
from semconv.questions.features import POPULARITY, TEXT, WORDS, Askers, Questions, QuestionScorer, Scored
from semconv.questions.fusion import (
    NAMED_SCORE,
    best_answers,
    fit_fusion,
    names_first,
    naming_share,
    ranks_by,
    text_alone,
    without_words,
)
from semconv.questions.index import ItemTexts, WordIndex
from semconv.questions.vectors import QuestionVectors

COLOURS = ("red", "blue", "green", "white", "black", "grey")
THINGS = ("lamp", "chair", "vase", "rug", "shelf", "stool")
TITLES: list[str | None] = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
NUM_ITEMS = len(TITLES)
NO_KINDS = np.full(NUM_ITEMS, -1)


def scorer(**changes: object) -> QuestionScorer:
    index = WordIndex.build(ItemTexts(TITLES, (), [None] * NUM_ITEMS))
    popularity = np.arange(NUM_ITEMS, dtype=np.float64)[::-1]
    return replace(QuestionScorer(index, np.ones(NUM_ITEMS, dtype=bool), popularity), **changes)  # type: ignore[arg-type]


def answers(scored: Scored, count: int = 6) -> list[list[int]]:
    return best_answers(scored, text_alone(scored.names).scores(scored), count)[0].tolist()


def test_text_alone_ranks_named_items_first_and_equal_ones_by_popularity() -> None:
    scored = scorer().score(Questions(["chairs", "red chair"]))
    chairs, red = answers(scored, 7)
    assert chairs[:6] == list(range(6, 12))
    assert red[0] == 6
    assert set(red[1:7]) <= {*range(6, 12), *range(0, NUM_ITEMS, 6)}
    scores = best_answers(scored, text_alone(scored.names).scores(scored), 7)[1]
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (scores[0, :6] > NAMED_SCORE).all()
    assert scores[0, 6] < NAMED_SCORE


def test_answers_are_allowed_items_that_the_user_has_not_seen() -> None:
    allowed = np.ones(NUM_ITEMS, dtype=bool)
    allowed[6:9] = False
    some = scorer(allowed=allowed).score(
        Questions(["chair"] * 2, None, Askers(None, None, [np.array([9], dtype=np.int32), np.zeros(0, dtype=np.int32)]))
    )
    first, second = answers(some, NUM_ITEMS)
    assert first[:2] == [10, 11]
    assert second[:3] == [9, 10, 11]
    assert not {6, 7, 8, 9} & set(first)


def test_a_score_does_not_depend_on_the_other_questions_or_the_filter() -> None:
    alone, together = scorer().score(Questions(["red vase"])), scorer().score(Questions(["rug", "red vase", "x"]))
    mine = together.candidates.users == 1
    assert together.candidates.items[mine].tolist() == alone.candidates.items.tolist()
    assert together.features[mine] == pytest.approx(alone.features)
    allowed = np.zeros(NUM_ITEMS, dtype=bool)
    allowed[[0, 12, 13]] = True
    few = scorer(allowed=allowed).score(Questions(["red vase"]))
    at = np.searchsorted(alone.candidates.items, few.candidates.items)
    assert few.features == pytest.approx(alone.features[at])


def test_vectors_find_items_without_a_common_word() -> None:
    near = np.eye(NUM_ITEMS, dtype=np.float32)

    def embed(texts: list[str]) -> TextVectors:
        known = np.array([row for row, text in enumerate(texts) if text.isdigit()], dtype=np.int32)
        return TextVectors(known, near[[int(texts[row]) for row in known.tolist()]])

    every = np.arange(NUM_ITEMS - 1, dtype=np.int32)
    vectors = QuestionVectors.of(TextVectors(every, near[:-1]), NUM_ITEMS, embed)  # type: ignore[arg-type]
    assert vectors is not None
    scored = scorer(vectors=vectors).score(Questions(["17", "?"]))
    fusion = without_words(scored.names)
    assert fusion is not None
    assert best_answers(scored, fusion.scores(scored), 1)[0][0].tolist() == [17]
    cosines = scored.features[scored.candidates.users == 1, scored.names.index(TEXT)]
    assert np.isnan(cosines).all()
    assert QuestionVectors.of(TextVectors(every[:0], near[:0]), NUM_ITEMS, embed) is None  # type: ignore[arg-type]
    assert without_words(scorer().score(Questions(["?"])).names) is None


def held_out(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Queries of a word of the item, whose answers are popular: text decides first, popularity next."""
    rng = np.random.default_rng(seed)
    items = np.minimum(rng.integers(0, NUM_ITEMS, count), rng.integers(0, NUM_ITEMS, count)).astype(np.int32)
    return [(TITLES[item] or "").split()[int(rng.integers(2))] for item in items.tolist()], items


def test_weights_fitted_on_queries_beat_each_part_alone_on_other_queries() -> None:
    texts, targets = held_out(400, seed=0)
    scored = scorer().score(Questions(texts))
    fitted = fit_fusion(scored, targets, NO_KINDS, names_first=True, seed=0)
    assert fitted is not None
    texts, targets = held_out(400, seed=1)
    again = scorer().score(Questions(texts))
    fused = best_answers(again, fitted.fusion.scores(again), 3)[0]
    hits = float((fused == targets[:, None]).any(axis=1).mean())
    for part in (WORDS, POPULARITY):
        assert hits >= float((ranks_by(part, again, targets, 3) > 0).mean())
    assert hits > float((ranks_by(POPULARITY, again, targets, 3) > 0).mean()) + 0.2


def test_few_queries_fit_no_weights() -> None:
    texts, targets = held_out(9, seed=0)
    assert fit_fusion(scorer().score(Questions(texts)), targets, NO_KINDS, names_first=True, seed=0) is None


def test_named_items_lose_their_lead_if_queries_mean_other_items() -> None:
    targets = np.arange(20, dtype=np.int32)
    honest = scorer().score(Questions([TITLES[item] or "" for item in targets.tolist()]))
    assert naming_share(honest, targets) == (20, 1.0)
    assert names_first(honest, targets)
    other = scorer().score(Questions([TITLES[(item + 7) % NUM_ITEMS] or "" for item in targets.tolist()]))
    assert naming_share(other, targets) == (20, 0.0)
    assert not names_first(other, targets)
    fitted = fit_fusion(other, targets, NO_KINDS, names_first=False, seed=0)
    assert fitted is None or fitted.fusion.scores(other).max() < NAMED_SCORE
