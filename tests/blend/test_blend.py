"""The blend over arrays: against brute force, with planted transitions, and with parts switched off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semconv.blend.blend import Blend
from semconv.blend.candidates import Candidates, source_bit, with_beams
from semconv.blend.features import TEXT_OF_NEW, BlockScores, feature_names
from semconv.blend.reasons import blend_reasons
from semconv.blend.tables import BlendTables, BlendUsers, EventDays, unit_vectors
from semconv.blend.weights import LogitWeights
from semconv.columns import SOURCE_TRANSITION, SOURCES_ORDER
from semconv.errors import InputError
from semconv.lists.recommender import Recommender, ShardLists, ShardUsers
from semconv.search.search import SearchResult, SearchSettings
from tests.worlds.blend import ITEMS, WEIGHTS, World, make_world
from tests.worlds.search import scores_of
from tests.worlds.sequences import sequences_of


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def blend(world: World) -> Blend:
    return world.fitted().blend


def features_by_hand(world: World, user: int, item: int) -> dict[str, float]:
    """Every feature but the model's, one user and one item at a time."""
    tables, history = world.tables, world.histories[user].tolist()[::-1]
    counter = tables.counter.toarray()
    recent = [(k + 1) ** -WEIGHTS.history_decay for k in range(len(history))]
    flat = [(k + 1) ** -0.3 for k in range(len(history))]
    cosines = [float(tables.vectors["behavior"][own] @ tables.vectors["behavior"][item]) for own in history]
    result = {
        "transition": np.log(sum(w * counter[own, item] for w, own in zip(recent, history, strict=True)) + 0.01),
        "transition of the latest item": np.log(counter[history[0], item] + 0.01),
        "behavior of the history": sum(w * c for w, c in zip(recent, cosines, strict=True)),
        "behavior of the whole history": sum(w * c for w, c in zip(flat, cosines, strict=True)),
        "behavior of the latest item": cosines[0],
        "popularity": np.log1p(tables.popularity[item]),
        "no interactions": float(tables.popularity[item] == 0),
    }
    day = world.days[user]
    taken = tables.events.days[tables.events.starts[item] : tables.events.starts[item + 1]]
    for width in (7, 30, 90, 365):
        near = float(((taken <= day) & (taken > day - width)).sum())
        result[f"popularity within {width} days"] = np.nan if np.isnan(day) else np.log1p(near)
    result["age"] = np.log1p(day - taken[0]) if len(taken) and taken[0] <= day else np.nan
    return result


def test_features_are_the_definition(world: World) -> None:
    users, items = (part.ravel() for part in np.meshgrid(np.arange(9), np.arange(ITEMS), indexing="ij"))
    got = BlockScores(world.tables, world.users().part(0, 9)).features(users, items)
    names = feature_names(world.tables)
    expected = [features_by_hand(world, int(user), int(item)) for user, item in zip(users, items, strict=True)]
    np.testing.assert_allclose(got, [[row[name] for name in names] for row in expected], atol=1e-5)


@pytest.mark.parametrize("masked", [True, False])
def test_blended_lists_equal_brute_force(world: World, blend: Blend, masked: bool) -> None:
    users, allowed = world.users(masked=masked), np.arange(ITEMS) % 7 != 2
    trie = world.case.trie.restrict(allowed)
    searcher = world.searcher(trie, top_k=6, beams=9)
    vectors = world.tables.vectors["behavior"]
    recommender = Recommender(searcher, np.flatnonzero(allowed), vectors, blend, allowed, 6)
    seen = world.histories if masked else None
    shard = ShardUsers(np.arange(60, dtype=np.int32), world.case.prompts, world.histories, seen, users)
    found = recommender.lists(shard)
    everything = np.tile(np.arange(ITEMS - 2), (60, 1))
    oracle = scores_of(world.case, everything, settings=SearchSettings(scores="trie"))  # (B, items with codes)
    counter = world.tables.counter.toarray()
    for user in range(0, 60, 7):
        history = world.histories[user]
        beams = found["model"].top_k.items[user]
        scored = []
        for item in np.flatnonzero(allowed).tolist():
            if masked and item in history:
                continue
            by_hand = features_by_hand(world, user, item)
            is_near = by_hand["behavior of the history"] > 0
            if not (counter[history, item].any() or is_near or item in beams):
                continue
            by_hand["log p of codes"] = oracle[user, item] if item < ITEMS - 2 else np.nan
            by_hand["has no code"] = float(item >= ITEMS - 2)
            row = np.array([[by_hand[name] for name in blend.weights.names]])
            scored.append((-float(blend.weights.scores(row)[0]), item))
        best = sorted(scored)[:6]
        assert found["blend"].top_k.items[user].tolist() == [item for _, item in best], user
        np.testing.assert_allclose(found["blend"].top_k.scores[user], [-score for score, _ in best], atol=1e-3)
    alone = replace(recommender, blend=None).lists(shard)
    assert set(alone) == {"model"}
    np.testing.assert_array_equal(alone["model"].top_k.items, found["model"].top_k.items)


def test_a_planted_transition_is_found_though_the_model_is_random(world: World) -> None:
    fitted = world.fitted()
    hits = {method: float((ranks == 1).mean()) for method, ranks in fitted.ranks.items()}
    assert hits["blend"] > 0.4
    assert hits["blend"] > 4 * hits["model"]
    weights = dict(zip(fitted.blend.weights.names, fitted.blend.weights.weights, strict=True))
    assert weights["transition"] + weights["transition of the latest item"] > 1
    assert abs(weights["log p of codes"]) < 0.5


def test_sources_say_who_proposed_and_reasons_what_spoke_for_it(world: World, blend: Blend) -> None:
    users, allowed = world.users(), np.ones(ITEMS, dtype=bool)
    proposed, features = blend.propose(users, allowed)
    shortlist = proposed.select(blend.shortlist(proposed, blend.weights_without_model.scores(features)))
    others = shortlist.table(60)
    searched = world.search(others)
    candidates, log_probs = with_beams(proposed, shortlist, others, searched)
    counter, near = world.tables.counter.toarray(), world.tables.vectors["behavior"]
    for row in range(0, len(candidates.users), 5):
        user, item = int(candidates.users[row]), int(candidates.items[row])
        history = world.histories[user]
        bits = int(candidates.sources[row])
        assert bool(bits & source_bit("model")) == (item in searched.items[user])
        assert bool(bits & source_bit("transition")) == bool(counter[history, item].any())
        by_hand = features_by_hand(world, user, item)
        assert bool(bits & source_bit("neighbor")) == (by_hand["behavior of the history"] > 0)
        assert np.isneginf(log_probs[row]) == (item >= ITEMS - 2)
    only = replace(world.tables, vectors={}), _slopes_of(blend, {"transition": 1.0})
    items = np.tile(np.arange(ITEMS, dtype=np.int32), (60, 1))
    why = blend_reasons(*only, users, items)
    for user in range(0, 60, 7):
        history = world.histories[user]
        recency = (np.arange(len(history))[::-1] + 1.0) ** -WEIGHTS.history_decay
        for item in range(ITEMS):
            parts = np.where(history == item, 0, recency * counter[history, item])
            assert (why[user, item] == history[parts.argmax()]) if parts.any() else (why[user, item] == -1)
    by_vector = _slopes_of(blend, {"behavior of the latest item": 2.0})
    why = blend_reasons(world.tables, by_vector, users, items)
    latest = np.array([history[-1] for history in world.histories])
    cosines = near[latest] @ near.T
    np.testing.assert_array_equal(why, np.where((cosines > 0) & (latest[:, None] != items), latest[:, None], -1))


def _slopes_of(blend: Blend, slopes: dict[str, float]):
    values = np.array([slopes.get(name, 0.0) for name in blend.weights.names])
    return replace(blend.weights, mean=np.zeros(len(values)), scale=np.ones(len(values)), weights=values)


def test_text_weighs_otherwise_for_items_that_nobody_has_taken(world: World) -> None:
    popularity = np.where(np.arange(ITEMS) % 3 == 0, 0, world.tables.popularity)
    of_text = unit_vectors(np.arange(ITEMS), np.random.default_rng(2).normal(size=(ITEMS, 4)), ITEMS)
    tables = replace(world.tables, vectors={"text": of_text}, popularity=popularity)
    users, items = np.repeat(np.arange(9), ITEMS), np.tile(np.arange(ITEMS), 9)
    rows = BlockScores(tables, world.users().part(0, 9)).features(users, items)
    columns = dict(zip(feature_names(tables), rows.T, strict=True))
    expected = np.where(popularity[items] == 0, columns["text of the history"], np.nan)
    assert 0 < np.isnan(expected).sum() < len(items)
    np.testing.assert_array_equal(columns[TEXT_OF_NEW], expected)


def test_the_reason_for_an_item_that_nobody_has_taken_has_the_weight_of_such_items(world: World) -> None:
    of_text = unit_vectors(np.arange(ITEMS), np.random.default_rng(2).normal(size=(ITEMS, 4)), ITEMS)
    tables = replace(world.tables, vectors={"text": of_text})
    names = feature_names(tables)
    slopes = {"text of the history": -1.0, TEXT_OF_NEW: 3.0}
    values = np.array([slopes.get(name, 0.0) for name in names])
    weights = LogitWeights(names, np.zeros(len(names)), np.ones(len(names)), values)
    items = np.tile(np.arange(ITEMS, dtype=np.int32), (60, 1))
    why = blend_reasons(tables, weights, world.users(), items)
    slope = np.where(tables.popularity == 0, 2.0, -1.0)
    assert (tables.popularity == 0).any()
    for user, history in enumerate(world.histories):
        recency = (np.arange(len(history))[::-1] + 1.0) ** -WEIGHTS.history_decay
        parts = recency[:, None] * (of_text[history] @ of_text.T) * slope  # (history, item)
        parts[history[:, None] == np.arange(ITEMS)] = 0
        expected = np.where((parts > 0).any(axis=0), history[parts.argmax(axis=0)], -1)
        np.testing.assert_array_equal(why[user], expected)


def test_text_proposes_the_nearest_items_that_nobody_has_taken(world: World) -> None:
    rng = np.random.default_rng(5)
    popularity = world.tables.popularity.copy()
    new, allowed = np.array([4, 11, 17, 30, 39]), np.arange(ITEMS) != 30
    popularity[new] = 0
    text = unit_vectors(np.arange(ITEMS), rng.normal(size=(ITEMS, 6)), ITEMS)
    tables = replace(
        world.tables, counter=None, vectors={"text": text}, popularity=popularity, proposing=(), events=None
    )
    proposed, _ = replace(world.fitted(tables).blend, num_proposals=2).propose(world.users(), allowed)
    for user, history in enumerate(world.histories):
        own = history[::-1]
        weights = (np.arange(len(own)) + 1.0) ** -WEIGHTS.history_decay
        near = text @ (weights[:, None] * text[own]).sum(axis=0)
        may = [item for item in new if allowed[item] and item not in own and near[item] > 0]
        best = sorted(may, key=lambda item: -near[item])[:2]
        assert proposed.items[proposed.users == user].tolist() == sorted(best)
    assert set(proposed.sources.tolist()) == {source_bit("neighbor")}


def test_parts_that_are_off_neither_propose_nor_score(world: World) -> None:
    bare = replace(world.tables, counter=None, vectors={}, events=None, with_popularity=False, proposing=())
    fitted = world.fitted(bare)
    assert fitted.blend.weights.names == ("log p of codes", "has no code")
    np.testing.assert_array_equal(fitted.ranks["blend"] > 0, fitted.ranks["model"] > 0)  # the beams, in some order
    assert set(fitted.ranks) == {"model", "blend", "blend-without-model"}
    assert not fitted.ranks["blend-without-model"].any()
    no_vectors = world.fitted(replace(world.tables, vectors={}, proposing=()))
    assert not [name for name in no_vectors.blend.weights.names if "behavior" in name]


def sources_of(lists: ShardLists, row: int, column: int) -> list[str]:
    return [source for source in SOURCES_ORDER if lists.sources[row, column] & source_bit(source)]


def test_lists_are_never_shorter_than_asked_and_users_without_anything_get_the_fallback(
    world: World, blend: Blend
) -> None:
    small = replace(blend, num_proposals=2, shortlist_length=1)
    lengths = np.array([len(items) for items in world.histories])
    lengths[5] = 0
    histories = [items if length else items[:0] for items, length in zip(world.histories, lengths, strict=True)]
    users = BlendUsers(np.concatenate(histories), lengths, world.days, histories)
    prompts = [prompt if length else prompt[:0] for prompt, length in zip(world.case.prompts, lengths, strict=True)]
    prompts[6] = prompts[6][:0]  # a history that the model cannot name
    ranking = np.arange(ITEMS)[::-1]
    recommender = Recommender(
        world.searcher(top_k=8, beams=8), ranking, None, blend=small, allowed=np.ones(ITEMS, dtype=bool), top_k=8
    )
    shard = ShardUsers(np.arange(60, dtype=np.int32), prompts, histories, histories, users)
    result = recommender.lists(shard)["blend"]
    assert (result.top_k.items >= 0).all()
    assert (np.diff(result.top_k.scores, axis=1) <= 0).all()
    for items, history in zip(result.top_k.items, histories, strict=True):
        assert len(set(items.tolist())) == 8
        assert not set(items.tolist()) & set(history.tolist())
    assert result.top_k.items[5].tolist() == ranking[:8].tolist()
    assert {tuple(sources_of(result, 5, rank)) for rank in range(8)} == {("fallback",)}
    assert set(sources_of(result, 6, 0)) <= {"transition", "neighbor"}
    assert "fallback" in sources_of(result, 6, 7)
    with pytest.raises(InputError, match="a blend needs the histories of all 60 users of a shard"):
        recommender.lists(replace(shard, for_blend=None))


def test_items_that_are_new_to_the_tables_have_unknown_features(world: World, blend: Blend) -> None:
    """The catalogue has grown since the blend was fitted."""
    history = np.array([ITEMS + 3, 5, ITEMS + 1], dtype=np.int32)
    users = BlendUsers(history, np.array([3, 0]), np.array([np.nan, np.nan]), None)
    scores = BlockScores(blend.tables, users)
    plain = BlockScores(blend.tables, BlendUsers(history[1:2], np.array([1, 0]), np.array([np.nan] * 2), None))
    pairs = np.zeros(ITEMS, dtype=np.int64), np.arange(ITEMS)
    np.testing.assert_array_equal(scores.features(*pairs), plain.features(*pairs))
    assert np.isnan(scores.features(pairs[0][:1], np.array([ITEMS + 2]))).all()
    allowed = np.ones(ITEMS + 4, dtype=bool)
    assert all((items < ITEMS).all() for _, items in scores.proposals(5, allowed).values())
    listed = np.array([[ITEMS + 2, 5], [1, 2]], dtype=np.int32)
    assert blend_reasons(blend.tables, blend.weights, users, listed)[:, 0].tolist() == [-1, -1]


def test_blocks_change_nothing(world: World, blend: Blend, monkeypatch: pytest.MonkeyPatch) -> None:
    users, allowed = world.users(), np.ones(ITEMS, dtype=bool)
    whole, features = blend.propose(users, allowed)
    monkeypatch.setattr("semconv.blend.blend._BLOCK_USERS", 7)
    monkeypatch.setattr("semconv.blend.cells._USERS_AT_ONCE", 3)
    monkeypatch.setattr("semconv.blend.features._GATHERED", 16)
    parts, of_parts = blend.propose(users, allowed)
    for name in ("users", "items", "sources"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    np.testing.assert_allclose(features, of_parts, atol=1e-6)


def test_counts_up_to_a_day() -> None:
    items = np.array([1, 1, 1, 2, 1])
    days = np.array([5, 9, 10, 5, 40])
    data = sequences_of([items[:2], items[2:]], days * 86_400_000_000 + 5)
    events = EventDays.of(data, 4)
    at = np.full(4, 8.0)
    assert events.count(np.arange(4), at, 3).tolist() == [0, 0, 0, 0]
    assert events.count(np.arange(4), at, 4).tolist() == [0, 1, 1, 0]
    assert events.count(np.arange(4), at + 2, 2).tolist() == [0, 2, 0, 0]
    assert np.isnan(events.count(np.arange(4), at * np.nan, 3)).all()
    assert events.first[1:3].tolist() == [5, 5]
    assert np.isnan(events.first[[0, 3]]).all()
    unknown = EventDays.of(sequences_of([items]), 4)
    assert len(unknown.days) == 0
    assert np.isnan(unknown.first).all()
    weighted = EventDays.of(replace(data, weights=np.array([0.1, 0.7, 0.2, 1.0, 1.0])), 4)
    assert weighted.count(np.arange(4), at + 2, 2).tolist() == [0, 0.9, 0, 0]
    assert weighted.count(np.arange(4), at, 4).tolist() == [0, 0.1, 1, 0]
    assert np.isnan(weighted.count(np.arange(4), at * np.nan, 3)).all()


def test_candidates_of_several_parts_are_one_row_with_all_bits() -> None:
    one = Candidates(np.array([0, 0, 2]), np.array([4, 1, 1]), np.full(3, 1, dtype=np.uint8))
    two = Candidates(np.array([0, 2, 2]), np.array([4, 0, 1]), np.full(3, 2, dtype=np.uint8))
    both = Candidates.merged([one, two])
    assert both.users.tolist() == [0, 0, 2, 2]
    assert both.items.tolist() == [1, 4, 0, 1]
    assert both.sources.tolist() == [1, 3, 2, 3]
    assert both.table(3).tolist() == [[1, 4], [-1, -1], [0, 1]]


def test_a_table_without_parts_has_no_features() -> None:
    assert feature_names(BlendTables(None, 0.5, {}, np.zeros(3, dtype=np.int64), None, with_popularity=False)) == ()


def test_a_blend_reads_the_scores_by_the_weights_as_trained() -> None:
    shortlist = Candidates.by(SOURCE_TRANSITION, np.array([0, 0, 1]), np.array([4, 7, 2]))
    others = shortlist.table(2)
    served, of_others = np.array([[-1.0], [-2.0]], np.float32), np.full(others.shape, -3.0, np.float32)
    found = SearchResult(np.array([[7], [5]], np.int32), served, of_others, served * 10, of_others * 10)

    candidates, log_probs = with_beams(shortlist, shortlist, others, found)

    by_item = dict(zip(zip(candidates.users.tolist(), candidates.items.tolist(), strict=True), log_probs, strict=True))
    assert by_item == {(0, 4): -30.0, (0, 7): -10.0, (1, 2): -30.0, (1, 5): -20.0}
