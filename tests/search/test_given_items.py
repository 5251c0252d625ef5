from __future__ import annotations

import numpy as np
import pytest

from semconv.errors import InputError
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie import CodeTrie
from tests.worlds.search import ARCHITECTURES, Case, make_case, scores_of

MODES = ("full", "trie")


def searcher(case: Case, trie: CodeTrie | None = None, **settings) -> Searcher:
    return Searcher(case.model, case.trie if trie is None else trie, case.level_tokens, SearchSettings(**settings))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("scores", MODES)
def test_scores_equal_brute_force_for_any_items_in_any_order(architecture, scores):
    case = make_case(architecture, seed=21)
    items = case.rng.integers(-1, 30, (5, 17))  # repeated items and gaps on purpose
    got = scores_of(case, items, settings=SearchSettings(scores=scores))
    expected = np.where(items >= 0, np.take_along_axis(case.oracle(scores), items.clip(0), axis=1), -np.inf)
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("scores", MODES)
@pytest.mark.parametrize("is_narrow", [False, True])
def test_scores_equal_the_search_and_do_not_depend_on_batches(scores, is_narrow):
    case = make_case("llama", items=80, prompts=9, seed=22)
    allowed = case.rng.random(80) < 0.6
    trie = case.trie.restrict(allowed)
    seen = [case.rng.choice(80, 9, replace=False) for _ in case.prompts]
    beams = 8 if is_narrow else 80
    items, values, _ = searcher(case, trie, top_k=8, beams=beams, scores=scores).search(case.prompts, seen)[:3]
    items, values = items[:, :8], values[:, :8]
    for batch_tokens in (64, 8192):
        got = scores_of(case, items, trie, SearchSettings(scores=scores, batch_tokens=batch_tokens))
        np.testing.assert_allclose(got, values, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_among_existing_codes_all_items_share_the_probability(architecture):
    case = make_case(architecture, items=60, seed=25)
    everything = np.tile(np.arange(60), (5, 1))
    got = scores_of(case, everything, settings=SearchSettings(scores="trie"))
    np.testing.assert_allclose(np.exp(got).sum(axis=1), 1.0, atol=1e-5)
    few = searcher(case, case.trie.restrict(np.arange(60) < 7), scores="trie")
    closed = few.search(case.prompts, None, everything).other_scores
    np.testing.assert_allclose(closed, got, atol=1e-5)  # items that may not be listed compete all the same


def test_items_that_share_all_codes_have_the_score_of_their_codes():
    case = make_case(items=20, prompts=3, seed=26)
    codes = np.concatenate([case.codes, case.codes[:6]])
    trie = CodeTrie.build(codes, np.arange(26))
    items = np.tile([0, 20, 5, 25], (3, 1))
    for scores in MODES:
        got = scores_of(case, items, trie, SearchSettings(scores=scores))
        np.testing.assert_allclose(got, case.oracle(scores)[:, [0, 0, 5, 5]], atol=1e-4)


def test_items_without_codes_have_no_score():
    case = make_case(prompts=2, seed=23)
    trie = CodeTrie.build(np.delete(case.codes, 4, axis=0), np.delete(np.arange(30), 4))
    got = scores_of(case, np.array([[4, 5, 700], [5, -1, 29]]), trie)
    assert np.isneginf(got).tolist() == [[True, False, True], [False, True, False]]


def test_wrong_shapes_are_named():
    case = make_case(prompts=2, seed=24)
    with pytest.raises(InputError, match="2 prompts"):
        searcher(case).search(case.prompts, None, np.zeros((3, 2), int))
    with pytest.raises(InputError, match="2 prompts"):
        searcher(case).search(case.prompts, None, np.zeros(2, int))
    assert scores_of(case, np.zeros((2, 0), int)).shape == (2, 0)


@pytest.mark.parametrize("scores", MODES)
@pytest.mark.parametrize("batch_tokens", [64, 8192])
def test_searching_and_scoring_at_once_equals_both_apart(scores, batch_tokens):
    case = make_case("qwen3", items=80, prompts=9, seed=27)
    codes = np.concatenate([case.codes, case.codes[:6]])  # the last six share theirs
    trie = CodeTrie.build(codes, np.arange(86)).restrict(case.rng.random(86) < 0.7)
    seen = [case.rng.choice(80, 9, replace=False) for _ in case.prompts]
    others = case.rng.integers(-1, 88, (9, 25))  # repeated items, gaps, two that nobody knows
    one = searcher(case, trie, top_k=8, beams=12, scores=scores, batch_tokens=batch_tokens)
    items, values, of_others = one.search(case.prompts, seen, others)[:3]
    assert items.shape == (9, 12)
    listed, listed_values, _ = one.search(case.prompts, seen)[:3]
    np.testing.assert_array_equal(items[:, :8], listed[:, :8])
    np.testing.assert_allclose(values[:, :8], listed_values[:, :8], atol=1e-4)
    alone = scores_of(case, others, trie, SearchSettings(scores=scores, batch_tokens=batch_tokens))
    np.testing.assert_allclose(of_others, alone, atol=1e-4)
    assert np.isneginf(of_others[others > 85]).all()
    assert np.isneginf(of_others[others < 0]).all()


def test_a_search_without_others_or_without_anything_to_list():
    case = make_case(items=30, prompts=4, seed=28)
    one = searcher(case, top_k=5, beams=6)
    items, _, of_others = one.search(case.prompts, None, np.zeros((4, 0), dtype=np.int64))[:3]
    np.testing.assert_array_equal(items, one.search(case.prompts, None).items)
    assert of_others.shape == (4, 0)
    closed = searcher(case, case.trie.restrict(np.zeros(30, dtype=bool)), top_k=5, beams=6)
    items, values, of_others = closed.search(case.prompts, None, np.tile([3, 7], (4, 1)))[:3]
    assert (items == -1).all()
    assert np.isneginf(values).all()
    found = one.search(case.prompts, None, np.tile([3, 7], (4, 1)))
    np.testing.assert_allclose(of_others, found.other_scores, atol=1e-5)
    with pytest.raises(InputError, match="do not fit 4 prompts"):
        one.search(case.prompts, None, np.zeros((3, 2), dtype=np.int64))
