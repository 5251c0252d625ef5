from __future__ import annotations

import numpy as np
import pytest

from semconv.blend.candidates import source_bit
from semconv.blend.tables import unit_vectors
from semconv.errors import InputError
from semconv.lists.recommender import Recommender, ShardUsers
from semconv.ragged import slices
from semconv.search.search import Searcher, SearchSettings
from tests.worlds.search import make_case


def test_shards_cut_users_in_order():
    cut = slices(10, 4)
    assert [(part.start, part.stop) for part in cut] == [(0, 4), (4, 8), (8, 10)]
    assert slices(8, 4) == cut[:2]
    assert slices(0, 4) == []


def test_a_shard_mixes_the_model_and_the_fallback():
    case = make_case(items=12, seed=31)
    prompts = [*case.prompts[:2], np.zeros(0, int), case.prompts[2]]
    histories = [np.array([1, 2]), np.array([3]), np.zeros(0, int), np.arange(11)]
    vectors = unit_vectors(np.arange(12), case.rng.normal(size=(12, 3)), 13)
    settings = SearchSettings(top_k=5, beams=12)
    searcher = Searcher(case.model, case.trie, case.level_tokens, settings)
    recommender = Recommender(searcher, np.array([2, 12, 0, 7, 4, 9, 1]), vectors, top_k=5)
    users = np.array([4, 5, 8, 9], dtype=np.int32)
    result = recommender.lists(ShardUsers(users, prompts, histories, histories))["model"]
    model_items, model_scores, _ = searcher.search(case.prompts[:3], [histories[0], histories[1], histories[3]])[:3]
    assert result.top_k.users.tolist() == [4, 5, 8, 9]
    np.testing.assert_array_equal(result.top_k.items[[0, 1]], model_items[:2, :5])
    np.testing.assert_allclose(result.top_k.scores[[0, 1]], model_scores[:2, :5], atol=1e-4)
    assert result.top_k.items[2].tolist() == [2, 12, 0, 7, 4]
    assert result.top_k.items[3].tolist() == [11, 12, -1, -1, -1], "one item left for the model, then the ranking"
    model, fallback = source_bit("model"), source_bit("fallback")
    assert result.sources.tolist() == [[model] * 5] * 2 + [[fallback] * 5, [model, fallback, 0, 0, 0]]
    assert (result.reasons[1] == 3).all()
    assert (result.reasons[2] == -1).all()
    assert (np.diff(np.where(result.top_k.items >= 0, result.top_k.scores, -1e9)) <= 0).all()


def test_a_shard_without_seen_items_or_vectors():
    case = make_case(items=8, prompts=2, seed=32)
    searcher = Searcher(case.model, case.trie, case.level_tokens, SearchSettings(top_k=3))
    recommender = Recommender(searcher, np.arange(3), None, top_k=3)
    shard = ShardUsers(np.arange(2, dtype=np.int32), case.prompts, [np.array([1]), np.array([2])], None)
    result = recommender.lists(shard)["model"]
    assert (result.top_k.items >= 0).all()
    assert (result.reasons == -1).all()
    nobody = recommender.lists(ShardUsers(np.zeros(0, np.int32), [], [], []))["model"]
    assert nobody.top_k.items.shape == nobody.reasons.shape == (0, 3)
    with pytest.raises(InputError, match="shard of 3 users"):
        recommender.lists(ShardUsers(np.arange(3, dtype=np.int32), case.prompts, shard.histories, None))
