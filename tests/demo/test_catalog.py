"""The demo's shop: the generated rows, and the best possible score."""

from __future__ import annotations

import dataclasses
import itertools
import re

import numpy as np
import pytest

from semconv.metrics import bootstrap_interval, hit_ratio, ndcg
from semconv_warehouse.demo.catalog import (
    NUM_ITEMS,
    DemoData,
    DemoShape,
    choice_probabilities,
    generate,
    item_affinity,
    kind_style_brand,
)
from semconv_warehouse.demo.words import KINDS, STYLES, wording


@pytest.fixture(scope="module")
def demo() -> DemoData:
    return generate()


def ranks_of(scores: np.ndarray, data: DemoData) -> np.ndarray:
    """Return the rank of each evaluated user's last item by ``scores`` with the history masked."""
    ranks = np.zeros(len(scores), dtype=np.int64)
    for row, user in enumerate(data.evaluated_users()):
        sequence = data.sequence_items[data.offsets[user] : data.offsets[user + 1]]
        own = scores[row].astype(np.float64).copy()
        own[sequence[:-1]] = -np.inf
        ranks[row] = (own > own[sequence[-1]]).sum() + 1
    return ranks


def popularity_ndcg(data: DemoData) -> np.ndarray:
    counts = np.zeros(NUM_ITEMS)
    for user in range(len(data.user_ids)):
        np.add.at(
            counts, data.sequence_items[data.offsets[user] : max(data.offsets[user + 1] - 2, data.offsets[user])], 1
        )
    users = len(data.evaluated_users())
    return ndcg(ranks_of(np.tile(counts, (users, 1)), data), 10)


def test_size_and_shape_of_the_data(demo: DemoData) -> None:
    lengths = np.diff(demo.offsets)
    assert len(demo.user_ids) == 2000
    assert 500 <= len(demo.items) <= 650
    assert lengths[-1] == 1
    assert lengths[:-1].min() == 5
    assert lengths.max() == 25
    assert len(demo.sequence_items) == len(demo.times) == len(demo.ratings) == len(demo.queries) == demo.offsets[-1]


def test_no_user_has_an_item_twice_and_times_increase(demo: DemoData) -> None:
    for user in range(len(demo.user_ids)):
        rows = slice(demo.offsets[user], demo.offsets[user + 1])
        assert len(set(demo.sequence_items[rows].tolist())) == demo.offsets[user + 1] - demo.offsets[user]
        assert (np.diff(demo.times[rows]) > 0).all()


def test_the_data_has_odd_rows(demo: DemoData) -> None:
    described = {item.item_id for item in demo.items}
    chosen = {demo.item_ids[index] for index in demo.sequence_items}
    assert len(described) == len(demo.items)
    assert len(chosen - described) == 1, "one chosen item without metadata"
    assert len(described - chosen) >= demo.shape.cold_items, "items that no customer chose"
    assert [item.item_id in chosen for item in demo.items if item.title is None] == [True], (
        "one chosen item without text"
    )
    rows, counts = np.unique(demo.file_rows, return_counts=True)
    assert len(rows) == len(demo.sequence_items)
    assert (counts == 2).sum() == demo.shape.duplicates
    assert set(np.unique(demo.ratings)) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert np.mean([query is not None for query in demo.queries]) == pytest.approx(demo.shape.query_share, abs=0.02)


def test_the_same_shape_gives_the_same_data_and_another_seed_does_not(demo: DemoData) -> None:
    again, other = generate(), generate(DemoShape(seed=1))
    for field in dataclasses.fields(DemoData):
        assert np.array_equal(getattr(again, field.name), getattr(demo, field.name)), field.name
    assert not np.array_equal(other.sequence_items[:100], demo.sequence_items[:100])


def test_texts_name_kind_and_style() -> None:
    titles = set()
    for index in range(NUM_ITEMS):
        kind, style, brand = (int(part) for part in kind_style_brand(np.array(index)))
        words = wording(kind, style, brand)
        titles.add(words.title)
        assert KINDS[kind].noun in words.title
        assert words.brand in STYLES[style].brands
        assert any(adjective in words.title for adjective in STYLES[style].adjectives)
        for review in words.reviews:
            assert KINDS[kind].noun in review
            assert not re.search(r"\ba [aeiou]", review.lower())
    assert len(titles) == NUM_ITEMS


def test_every_kind_can_be_reached_from_every_kind() -> None:
    nouns = [kind.noun for kind in KINDS]
    assert len(set(nouns)) == len(nouns)
    for start in KINDS:
        reached, frontier = {start.noun}, [start.noun]
        while frontier:
            noun = frontier.pop()
            new = set(KINDS[nouns.index(noun)].next_kinds) - reached
            reached |= new
            frontier += list(new)
        assert reached == set(nouns), f"from {start.noun} not everything can be reached"


def test_probabilities_equal_the_frequencies_of_noisy_choices() -> None:
    rng = np.random.default_rng(3)
    appeal = rng.standard_normal(NUM_ITEMS)
    affinity = item_affinity(np.array([5]), np.array([2]), appeal)
    seen = np.zeros((1, NUM_ITEMS), dtype=bool)
    seen[0, affinity[0].argmax()] = True
    draws = 20000
    noisy = 0.7 * np.where(seen, -np.inf, affinity) + 0.3 * rng.gumbel(size=(draws, NUM_ITEMS))
    frequency = np.bincount(noisy.argmax(axis=1), minlength=NUM_ITEMS) / draws
    probabilities = choice_probabilities(affinity, seen, 0.3)[0]
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[seen[0]].sum() == 0
    assert np.abs(frequency - probabilities).max() < 4 * np.sqrt(probabilities.max() / draws)


def test_the_true_ranking_reaches_the_best_possible_score(demo: DemoData) -> None:
    ranks = ranks_of(demo.next_item_probabilities(demo.evaluated_users()), demo)
    low, high = bootstrap_interval(ndcg(ranks, 10), samples=1000, confidence=0.999, seed=0)
    assert low < demo.best_possible_ndcg(10) < high
    low, high = bootstrap_interval(hit_ratio(ranks, 10), samples=1000, confidence=0.999, seed=0)
    assert low < demo.best_possible_hit_ratio(10) < high


def test_the_best_possible_score_falls_as_randomness_grows() -> None:
    levels = [0.0, 0.15, 0.3, 0.45, 0.7, 1.0]
    data = [generate(DemoShape(users=400, randomness=randomness)) for randomness in levels]
    best = [one.best_possible_ndcg(10) for one in data]
    assert all(earlier > later for earlier, later in itertools.pairwise(best)), best
    assert best[0] == pytest.approx(1)
    left = NUM_ITEMS - (
        np.diff(data[-1].offsets)[data[-1].evaluated_users()] - 1
    )  # items that the user does not have yet
    assert best[-1] == pytest.approx((1 / np.log2(np.arange(2, 12))).sum() * (1 / left).mean())
    assert data[-1].best_possible_hit_ratio(10) == pytest.approx((10 / left).mean())


def test_a_ranking_by_popularity_stays_far_below_half_of_the_best_possible(demo: DemoData) -> None:
    _, high = bootstrap_interval(popularity_ndcg(demo), samples=1000, confidence=0.999, seed=0)
    assert high < 0.25 * demo.best_possible_ndcg(10)


def test_a_count_of_first_order_transitions_reaches_half_of_the_best_possible(demo: DemoData) -> None:
    counts = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for user in range(len(demo.user_ids)):
        train = demo.sequence_items[demo.offsets[user] : max(demo.offsets[user + 1] - 2, demo.offsets[user])]
        np.add.at(counts, (train[:-1], train[1:]), 1)
    last = demo.sequence_items[demo.offsets[demo.evaluated_users() + 1] - 2]
    assert ndcg(ranks_of(counts[last], demo), 10).mean() > 0.5 * demo.best_possible_ndcg(10)


def test_randomness_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="randomness"):
        generate(DemoShape(randomness=1.5))
