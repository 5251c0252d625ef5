from __future__ import annotations

import numpy as np
import pytest

from semconv.blend.fallback import fill_from_fallback
from semconv.blend.jobs import Recommender, ShardUsers, recommend_shard, shards
from semconv.blend.reasons import reasons, vector_table
from semconv.errors import InputError
from semconv.search.search import SearchSettings, beam_search
from tests.worlds.search import make_case


def test_a_reason_is_the_nearest_item_of_the_history():
    vectors = vector_table(np.arange(5), np.array([[1, 0], [0, 5], [3, 3], [-1, 0], [0, -2]]), 7)
    histories = [np.array([0, 1]), np.array([3, 4, 1]), np.array([5, 6]), np.zeros(0, int), np.array([2, 0])]
    items = np.array([[2, 1], [0, 2], [0, 1], [0, 1], [2, -1]])
    # cosines: 2 to 0 equals 2 to 1, the latest wins; 0 to {3: -1, 4: 0, 1: 0}; 5 and 6 have no vector;
    # no history; item 2 is no reason for itself
    assert reasons(histories, items, vectors).tolist() == [[1, 0], [1, 1], [-1, -1], [-1, -1], [0, -1]]
    assert (reasons(histories, np.array([[6]] * 5), vectors) == -1).all()


def test_reasons_do_not_depend_on_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = vector_table(np.arange(50), rng.normal(size=(50, 4)), 50)
    histories = [rng.integers(0, 50, size) for size in rng.integers(0, 12, 40)]
    items = rng.integers(-1, 50, (40, 6))
    whole = reasons(histories, items, vectors)
    monkeypatch.setattr("semconv.blend.reasons._BLOCK_ELEMENTS", 100)
    np.testing.assert_array_equal(reasons(histories, items, vectors), whole)


def test_fallback_fills_empty_places_and_leaves_out_what_a_user_has():
    items = np.array([[7, 8, -1], [-1, -1, -1], [1, 2, 3], [-1, -1, -1]], dtype=np.int32)
    scores = np.array([[-2.5, -4, -np.inf], [-np.inf] * 3, [-1, -2, -3], [-np.inf] * 3], dtype=np.float32)
    seen = [np.array([5]), np.array([7, 6, 99]), np.array([4]), np.array([5, 7, 6, 8])]
    got, got_scores, filled = fill_from_fallback(items, scores, np.array([5, 7, 6, 8]), seen)
    assert got.tolist() == [[7, 8, 6], [5, 8, -1], [1, 2, 3], [-1, -1, -1]]
    assert got_scores.tolist() == [[-2.5, -4, -5], [-1, -2, -np.inf], [-1, -2, -3], [-np.inf] * 3]
    assert filled.tolist() == [[False, False, True], [True, True, False], [False] * 3, [False] * 3]
    assert items[1, 0] == -1, "the given lists stay as they were"


def test_fallback_equals_a_plain_loop(monkeypatch):
    rng = np.random.default_rng(1)
    ranking = rng.permutation(40)
    items = np.full((30, 6), -1, dtype=np.int32)
    for row in range(30):
        items[row, : row % 7] = rng.choice(60, row % 7, replace=False)
    scores = np.where(items >= 0, 0.0, -np.inf).astype(np.float32)
    seen = [rng.choice(60, size, replace=False) for size in rng.integers(0, 45, 30)]
    monkeypatch.setattr("semconv.blend.fallback._BLOCK_ELEMENTS", 200)
    for taken in (seen, None):
        got, _, _ = fill_from_fallback(items, scores, ranking, taken)
        for row in range(30):
            own = [item for item in items[row] if item >= 0]
            barred = set(own) | set(taken[row] if taken else [])
            expected = (own + [item for item in ranking if item not in barred])[:6]
            assert got[row].tolist() == expected + [-1] * (6 - len(expected))


def test_no_ranking_fills_nothing():
    got, scores, filled = fill_from_fallback(
        np.full((2, 2), -1, np.int32), np.full((2, 2), -np.inf, np.float32), np.zeros(0, int), None
    )
    assert (got == -1).all()
    assert np.isneginf(scores).all()
    assert not filled.any()


def test_shards_cut_users_in_order():
    cut = shards(10, 4)
    assert [(part.start, part.stop) for part in cut] == [(0, 4), (4, 8), (8, 10)]
    assert shards(8, 4) == cut[:2]
    assert shards(0, 4) == []


def test_a_shard_mixes_the_model_and_the_fallback():
    case = make_case(items=12, seed=31)
    prompts = [*case.prompts[:2], np.zeros(0, int), case.prompts[2]]
    histories = [np.array([1, 2]), np.array([3]), np.zeros(0, int), np.arange(11)]
    vectors = vector_table(np.arange(12), case.rng.normal(size=(12, 3)), 13)
    settings = SearchSettings(top_k=5, beams=12)
    recommender = Recommender(
        case.model, case.trie, case.level_tokens, settings, np.array([2, 12, 0, 7, 4, 9, 1]), vectors
    )
    users = np.array([4, 5, 8, 9], dtype=np.int32)
    result = recommend_shard(recommender, ShardUsers(users, prompts, histories, histories))
    model_items, model_scores = beam_search(
        case.model, case.trie, case.level_tokens, case.prompts[:3], [histories[0], histories[1], histories[3]], settings
    )
    assert result.top_k.users.tolist() == [4, 5, 8, 9]
    np.testing.assert_array_equal(result.top_k.items[[0, 1]], model_items[:2])
    np.testing.assert_allclose(result.top_k.scores[[0, 1]], model_scores[:2], atol=1e-4)
    assert result.top_k.items[2].tolist() == [2, 12, 0, 7, 4]
    assert result.top_k.items[3].tolist() == [11, 12, -1, -1, -1], "one item left for the model, then the ranking"
    model, fallback = ["model"], ["fallback"]
    expected = [[model] * 5] * 2 + [[fallback] * 5, [model, fallback, [], [], []]]
    assert [[result.sources_of(row, place) for place in range(5)] for row in range(4)] == expected
    assert (result.reasons[1] == 3).all()
    assert (result.reasons[2] == -1).all()
    assert (np.diff(np.where(result.top_k.items >= 0, result.top_k.scores, -1e9)) <= 0).all()


def test_a_shard_without_seen_items_or_vectors():
    case = make_case(items=8, prompts=2, seed=32)
    recommender = Recommender(case.model, case.trie, case.level_tokens, SearchSettings(top_k=3), np.arange(3), None)
    shard = ShardUsers(np.arange(2, dtype=np.int32), case.prompts, [np.array([1]), np.array([2])], None)
    result = recommend_shard(recommender, shard)
    assert (result.top_k.items >= 0).all()
    assert (result.reasons == -1).all()
    nobody = recommend_shard(recommender, ShardUsers(np.zeros(0, np.int32), [], [], []))
    assert nobody.top_k.items.shape == nobody.reasons.shape == (0, 3)
    with pytest.raises(InputError, match="shard of 3 users"):
        recommend_shard(recommender, ShardUsers(np.arange(3, dtype=np.int32), case.prompts, shard.histories, None))
