from __future__ import annotations

from math import log2

import numpy as np
import pytest

from semconv.config import EvaluateSettings
from semconv.errors import InputError
from semconv.evaluation.evaluate import EvaluationProtocol, compare, metric_rows, sample_users, segments

SETTINGS = EvaluateSettings(bootstrap_samples=200)
PROTOCOL = EvaluationProtocol("test", "[:-2]", "masked", 20, {"wording": "w1"})
METRIC_COLUMNS = {
    "method", "split", "segment", "train_cut", "seen", "name", "k", "value", "ci_low", "ci_high", "num_users", "protocol",
}  # fmt: skip


def figures(rows, segment="all"):
    return {(row["name"], row["k"]): row["value"] for row in rows if row["segment"] == segment}


def test_figures_are_hand_made_fractions():
    ranks = np.array([1, 2, 6, 0, 11, 3])
    rows = metric_rows("model", ranks, np.array([2, 2, 2, 30, 30, 30]), PROTOCOL, SETTINGS)
    got = figures(rows)
    assert got["hit_ratio", 1] == pytest.approx(1 / 6)
    assert got["hit_ratio", 5] == pytest.approx(3 / 6)
    assert got["hit_ratio", 10] == pytest.approx(4 / 6)
    assert got["hit_ratio", 20] == pytest.approx(5 / 6)
    assert got["ndcg", 1] == pytest.approx(1 / 6)
    assert got["ndcg", 5] == pytest.approx((1 + 1 / log2(3) + 1 / 2) / 6)
    assert got["ndcg", 10] == pytest.approx((1 + 1 / log2(3) + 1 / 2 + 1 / log2(7)) / 6)
    assert figures(rows, "history 1-4")["hit_ratio", 1] == pytest.approx(1 / 3)
    assert figures(rows, "history 20+")["hit_ratio", 5] == pytest.approx(1 / 3)


def test_rows_fit_the_table_metric():
    rows = metric_rows("model", np.array([1, 0, 4]), np.array([1, 5, 12]), PROTOCOL, SETTINGS)
    assert {frozenset(row) for row in rows} == {frozenset(METRIC_COLUMNS)}
    assert {row["segment"] for row in rows} == {"all", "history 1-4", "history 5-9", "history 10-19"}
    assert [row["num_users"] for row in rows if row["segment"] == "all"] == [3] * 8
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    assert rows[0]["protocol"] == {"list_length": 20, "bootstrap_seed": 0, "wording": "w1"}
    assert all(type(row["value"]) is float and type(row["k"]) is int for row in rows)


def test_segments_split_the_users():
    masks = dict(segments(np.array([1, 4, 5, 9, 10, 19, 20, 500])))
    assert masks.pop("all").all()
    assert (sum(mask.astype(int) for mask in masks.values()) == 1).all()
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "history 1-4": 2, "history 5-9": 2, "history 10-19": 2, "history 20+": 2,
    }  # fmt: skip


def test_a_short_list_supports_no_long_k():
    short = EvaluationProtocol("valid", "[:-2]", "kept", 5)
    assert {row["k"] for row in metric_rows("model", np.array([1, 0]), np.array([3, 3]), short, SETTINGS)} == {1, 5}


def test_serve_lists_and_unequal_users_are_refused():
    serve = EvaluationProtocol("serve", "[:]", "masked", 20)
    with pytest.raises(InputError, match="serve"):
        metric_rows("model", np.array([1]), np.array([1]), serve, SETTINGS)
    with pytest.raises(InputError, match="2 ranks for 1 users"):
        metric_rows("model", np.array([1, 2]), np.array([1]), PROTOCOL, SETTINGS)
    with pytest.raises(InputError, match="same users"):
        compare(np.array([1, 2]), np.array([1]), 20, SETTINGS)
    assert metric_rows("model", np.zeros(0, np.int64), np.zeros(0, np.int64), PROTOCOL, SETTINGS) == []


def test_a_difference_carried_by_the_same_users_is_seen_although_intervals_overlap():
    rng = np.random.default_rng(0)
    theirs = np.where(rng.random(4000) < 0.3, rng.integers(1, 11, 4000), 0)
    ours = np.where((theirs == 0) & (rng.random(4000) < 0.01), 3, theirs)
    row = next(row for row in compare(ours, theirs, 10, SETTINGS) if (row["name"], row["k"]) == ("hit_ratio", 10))
    assert row["difference"] == pytest.approx(((ours > 0).sum() - (theirs > 0).sum()) / 4000)
    assert 0 < row["ci_low"] < row["difference"] < row["ci_high"]
    apart = [metric_rows("m", ranks, np.ones(4000, np.int64), PROTOCOL, SETTINGS) for ranks in (ours, theirs)]
    ours_row, theirs_row = (next(r for r in rows if (r["name"], r["k"]) == ("hit_ratio", 10)) for rows in apart)
    assert ours_row["ci_low"] < theirs_row["ci_high"]
    same = compare(theirs, theirs, 10, SETTINGS)
    assert all(row["difference"] == row["ci_low"] == row["ci_high"] == 0 for row in same)


def test_a_sample_of_users_is_fixed_and_ordered():
    users = np.arange(100, dtype=np.int32) * 2
    some = sample_users(users, EvaluateSettings(max_users=10, seed=3))
    assert len(set(some.tolist())) == 10
    assert (np.diff(some) > 0).all()
    np.testing.assert_array_equal(some, sample_users(users, EvaluateSettings(max_users=10, seed=3)))
    np.testing.assert_array_equal(sample_users(users, EvaluateSettings()), users)
    np.testing.assert_array_equal(sample_users(users, EvaluateSettings(max_users=1000)), users)
