from __future__ import annotations

import numpy as np
import pytest
from inference_case import ARCHITECTURES, make_case

from semconv.errors import InputError
from semconv.inference.score import score_items
from semconv.inference.search import SearchSettings, beam_search


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("scores", ["full", "level"])
def test_scores_equal_brute_force_for_any_items_in_any_order(architecture, scores):
    case = make_case(architecture, seed=21)
    items = case.rng.integers(-1, 30, (5, 17))  # repeated items and gaps on purpose
    got = score_items(case.model, case.level_tokens, case.codes, case.prompts, items, SearchSettings(scores=scores))
    expected = np.where(items >= 0, np.take_along_axis(case.oracle(scores), items.clip(0), axis=1), -np.inf)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_scores_equal_the_search_and_do_not_depend_on_batches():
    case = make_case("llama", prompts=9, seed=22)
    items, scores = beam_search(case.model, case.trie, case.level_tokens, case.prompts, None, SearchSettings(top_k=8))
    for batch_tokens in (64, 8192):
        settings = SearchSettings(batch_tokens=batch_tokens)
        got = score_items(case.model, case.level_tokens, case.codes, case.prompts, items, settings)
        np.testing.assert_allclose(got, scores, atol=1e-4)


def test_items_without_codes_have_no_score():
    case = make_case(prompts=2, seed=23)
    table = case.trie.restrict(np.arange(30) != 4).code_table(30)
    got = score_items(case.model, case.level_tokens, table, case.prompts, np.array([[4, 5], [5, -1]]), SearchSettings())
    assert np.isneginf(got).tolist() == [[True, False], [False, True]]


def test_wrong_shapes_are_named():
    case = make_case(prompts=2, seed=24)
    with pytest.raises(InputError, match="2 prompts"):
        score_items(case.model, case.level_tokens, case.codes, case.prompts, np.zeros((3, 2), int), SearchSettings())
    with pytest.raises(InputError, match="code tokens"):
        score_items(
            case.model, case.level_tokens[:, :2], case.codes, case.prompts, np.zeros((2, 2), int), SearchSettings()
        )
