"""Metrics against hand-made fractions, and bootstrap intervals against plain resampling."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from semconv.metrics import (
    bootstrap_interval,
    coverage,
    diversity,
    hit_ratio,
    ndcg,
    novelty,
    paired_bootstrap,
    prefix_ids,
    reciprocal_rank,
    self_information,
    target_ranks,
)


def test_ranks_count_from_one_and_zero_is_a_miss():
    items = np.array([[5, 3, 9], [5, 3, -1], [1, 2, 3], [-1, -1, -1]], dtype=np.int32)
    targets = np.array([9, 5, 7, -1], dtype=np.int32)
    assert target_ranks(items, targets).tolist() == [3, 1, 0, 0]


def test_an_empty_rank_is_no_hit_for_a_user_without_target():
    assert target_ranks(np.array([[-1]], dtype=np.int32), np.array([-1], dtype=np.int32)).tolist() == [0]


def test_hit_ratio_and_ndcg_per_user():
    ranks = np.array([0, 1, 2, 5, 6])
    assert hit_ratio(ranks, 5).tolist() == [0, 1, 1, 1, 0]
    assert ndcg(ranks, 5).tolist() == [0, 1, pytest.approx(1 / log2(3)), pytest.approx(1 / log2(6)), 0]
    assert ndcg(ranks, 1).tolist() == hit_ratio(ranks, 1).tolist()


def test_interval_has_the_binomial_width():
    values = np.repeat([1.0, 0.0], [300, 700])
    low, high = bootstrap_interval(values, samples=20_000, confidence=0.95, seed=0)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert low == pytest.approx(0.3 - half, abs=0.002)
    assert high == pytest.approx(0.3 + half, abs=0.002)


def test_interval_equals_resampling_users_one_by_one():
    rng = np.random.default_rng(5)
    values = ndcg(rng.integers(0, 12, 400), 10)
    means = values[rng.integers(0, 400, (20_000, 400))].mean(axis=1)
    got = bootstrap_interval(values, samples=20_000, confidence=0.9, seed=1)
    assert got == pytest.approx(np.quantile(means, [0.05, 0.95]), abs=0.002)


def test_interval_is_reproducible_and_degenerate_cases_are_defined():
    values = np.array([0.0, 1.0, 0.5])
    first = bootstrap_interval(values, samples=50, confidence=0.9, seed=4)
    assert first == bootstrap_interval(values[::-1], samples=50, confidence=0.9, seed=4)
    assert bootstrap_interval(np.full(7, 0.25), samples=50, confidence=0.9, seed=4) == (0.25, 0.25)
    assert all(np.isnan(bound) for bound in bootstrap_interval(np.zeros(0), samples=50, confidence=0.9, seed=4))


def test_paired_interval_is_tighter_than_an_unpaired_one():
    rng = np.random.default_rng(0)
    theirs = (rng.random(5000) < 0.2).astype(float)
    ours = theirs.copy()
    ours[:25] = 1.0
    mean, low, high = paired_bootstrap(ours, theirs, samples=2000, confidence=0.95, seed=0)
    assert mean == pytest.approx((ours - theirs).mean())
    assert 0 < low < mean < high < 0.01


def test_reciprocal_rank_is_one_over_the_rank_inside_k():
    np.testing.assert_allclose(reciprocal_rank(np.array([1, 4, 5, 0]), 4), [1, 1 / 4, 0, 0])


def test_novelty_is_the_mean_surprise_of_a_list_in_bits():
    information = self_information(np.array([8, 4, 4, 0]))  # an item without interactions counts as having one of 16
    np.testing.assert_allclose(information, [1, 2, 2, 4])
    got = novelty(np.array([[0, 1, 3], [0, 0, -1], [-1, -1, -1]], np.int32), information)
    np.testing.assert_allclose(got, [(1 + 2 + 4) / 3, 1, np.nan])


def test_diversity_counts_levels_after_the_common_prefix():
    # The same later code below different prefixes does not count as shared.
    codes = np.array([[1, 1, 1], [1, 1, 2], [1, 3, 1], [2, 1, 1]], np.uint16)
    prefixes = prefix_ids(np.array([0, 1, 2, 4], np.int32), codes, 5)  # item 3 has no codes
    lists = np.array([[0, 1, -1], [0, 2, 3], [2, 4, -1], [0, 1, 2], [3, -1, -1], [0, 0, -1]], np.int32)
    np.testing.assert_allclose(diversity(lists, prefixes), [1 / 3, 2 / 3, 1, (1 / 3 + 2 / 3 + 2 / 3) / 3, np.nan, 0])


def test_diversity_equals_comparing_every_pair():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (30, 4)).astype(np.uint16)
    lists = rng.integers(-1, 30, (50, 7)).astype(np.int32)

    def distance(one: int, other: int) -> float:
        same = next((level for level in range(4) if codes[one, level] != codes[other, level]), 4)
        return (4 - same) / 4

    for items, got in zip(lists, diversity(lists, prefix_ids(np.arange(30, dtype=np.int32), codes, 30)), strict=True):
        listed = items[items >= 0].tolist()
        pairs = [distance(a, b) for n, a in enumerate(listed) for b in listed[n + 1 :]]
        assert got == pytest.approx(np.mean(pairs))


def test_coverage_is_of_the_items_that_may_be_listed():
    lists = np.array([[0, 1], [1, -1], [4, 1]], np.int32)
    assert coverage(lists, np.array([True, True, True, True, False])) == 2 / 4
    assert np.isnan(coverage(lists, np.zeros(5, bool)))


def test_the_interval_of_many_different_values_is_that_of_resampling_users():
    values = np.random.default_rng(0).gamma(2.0, 3.0, 3000)
    settings = {"samples": 2000, "confidence": 0.95, "seed": 1}
    low, high = bootstrap_interval(values, **settings)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)
