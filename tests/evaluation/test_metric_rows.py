"""Rows of the table ``metric``: figures by hand, segments, intervals and paired comparisons."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from semconv.errors import InputError
from semconv.evaluation.rows import EvaluationProtocol, ListFigures, compare, metric_rows
from semconv.evaluation.segments import EvaluatedUsers, draw_users, segments
from semconv.settings.evaluate import EvaluateSettings

SETTINGS = EvaluateSettings(bootstrap_samples=200)
PROTOCOL = EvaluationProtocol("test", "[:-2]", "masked", 20, {"wording": "w1"})
METRIC_COLUMNS = {
    "method", "split", "segment", "train_cut", "seen", "name", "k", "value", "ci_low", "ci_high", "num_users", "protocol",
}  # fmt: skip


def users_of(lengths, popularity=None, is_cold=None):
    lengths = np.asarray(lengths)
    popularity = np.full(len(lengths), 3) if popularity is None else np.asarray(popularity)
    return EvaluatedUsers(lengths, popularity, np.zeros(len(lengths), bool) if is_cold is None else np.asarray(is_cold))


def figures_of(ranks):
    ranks = np.asarray(ranks, dtype=np.int64)
    flat = np.zeros(len(ranks))
    return ListFigures(ranks, flat + 5.0, flat + 0.5, flat, 0.25)


def rows_of(ranks, users, protocol=PROTOCOL):
    return metric_rows("model", figures_of(ranks), users, protocol, SETTINGS)


def figures(rows, segment="all"):
    return {(row["name"], row["k"]): row["value"] for row in rows if row["segment"] == segment}


def test_figures_are_hand_made_fractions():
    ranks = np.array([1, 2, 6, 0, 11, 3])
    rows = rows_of(ranks, users_of([2, 2, 2, 30, 30, 30]))
    got = figures(rows)
    assert got["hit_ratio", 1] == pytest.approx(1 / 6)
    assert got["hit_ratio", 5] == pytest.approx(3 / 6)
    assert got["hit_ratio", 10] == pytest.approx(4 / 6)
    assert got["hit_ratio", 20] == pytest.approx(5 / 6)
    assert got["ndcg", 1] == pytest.approx(1 / 6)
    assert got["ndcg", 5] == pytest.approx((1 + 1 / log2(3) + 1 / 2) / 6)
    assert got["ndcg", 10] == pytest.approx((1 + 1 / log2(3) + 1 / 2 + 1 / log2(7)) / 6)
    assert got["mrr", 20] == pytest.approx((1 + 1 / 2 + 1 / 6 + 1 / 11 + 1 / 3) / 6)
    assert got["coverage", 20] == 0.25
    assert (got["novelty", 20], got["diversity", 20], got["fallback_share", 20]) == (5.0, 0.5, 0.0)
    assert figures(rows, "history 1-4")["hit_ratio", 1] == pytest.approx(1 / 3)
    assert figures(rows, "history 20+")["hit_ratio", 5] == pytest.approx(1 / 3)


def test_rows_fit_the_table_metric():
    rows = rows_of([1, 0, 4], users_of([1, 5, 12]))
    assert {frozenset(row) for row in rows} == {frozenset(METRIC_COLUMNS)}
    assert {row["segment"] for row in rows} == {
        "all", "history 1-4", "history 5-9", "history 10-19", "target popularity 3+", "warm target",
    }  # fmt: skip
    assert [row["num_users"] for row in rows if row["segment"] == "all"] == [3] * 13
    assert [row["name"] for row in rows if row["ci_low"] is None] == ["coverage"]
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows if row["name"] != "coverage")
    assert rows[0]["protocol"] == {"list_length": 20, "bootstrap_seed": 0, "wording": "w1"}
    assert all(type(row["value"]) is float and type(row["k"]) is int for row in rows)


def test_each_division_splits_the_users():
    cold = [True, False, False, False, False, False, False, True]
    users = users_of([1, 4, 5, 9, 10, 19, 20, 500], [0, 1, 2, 3, 4, 5, 6, 7], cold)
    masks = dict(segments(users))
    assert masks.pop("all").all()
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        "history 1-4": 2, "history 5-9": 2, "history 10-19": 2, "history 20+": 2,
        "target popularity 0-1": 2, "target popularity 2-3": 2, "target popularity 4-5": 2, "target popularity 6+": 2,
        "warm target": 6, "cold target": 2, "new target": 1,
    }  # fmt: skip
    for division in ("history", "target popularity", ("warm", "cold")):
        assert (sum(mask.astype(int) for name, mask in masks.items() if name.startswith(division)) == 1).all()


def test_equally_popular_targets_are_one_segment():
    assert [name for name, _ in segments(users_of([3] * 4, [7] * 4))] == [
        "all", "history 1-4", "target popularity 7+", "warm target",
    ]  # fmt: skip


def test_users_without_a_figure_are_left_out_of_its_mean():
    empty = np.array([2.0, np.nan, 4.0])
    made = ListFigures(np.array([1, 0, 0]), empty, np.full(3, np.nan), np.zeros(3), float("nan"))
    rows = metric_rows("model", made, users_of([3, 3, 3]), PROTOCOL, SETTINGS)
    novelty = next(row for row in rows if row["name"] == "novelty")
    assert (novelty["value"], novelty["num_users"]) == (3.0, 2)
    assert not {"diversity", "coverage"} & {row["name"] for row in rows}


def test_the_protocol_has_the_details_of_the_method():
    own = PROTOCOL.with_details({"parameters": {"decay": 1.0}})
    assert {str(row["protocol"]["parameters"]) for row in rows_of([1, 0], users_of([3, 3]), own)} == {"{'decay': 1.0}"}
    assert "parameters" not in PROTOCOL.details


def test_a_short_list_supports_no_long_k():
    short = EvaluationProtocol("valid", "[:-2]", "kept", 5)
    assert {row["k"] for row in rows_of([1, 0], users_of([3, 3]), short)} == {1, 5}


def test_serve_lists_and_unequal_users_are_refused():
    serve = EvaluationProtocol("serve", "[:]", "masked", 20)
    with pytest.raises(InputError, match="serve"):
        rows_of([1], users_of([1]), serve)
    with pytest.raises(InputError, match="there are 2 ranks for 1 users"):
        rows_of([1, 2], users_of([1]))
    with pytest.raises(InputError, match="same users"):
        compare(np.array([1, 2]), np.array([1]), 20, SETTINGS)
    assert rows_of([], users_of(np.zeros(0, np.int64))) == []


def test_a_paired_difference_is_significant_although_the_intervals_overlap():
    rng = np.random.default_rng(0)
    theirs = np.where(rng.random(4000) < 0.3, rng.integers(1, 11, 4000), 0)
    ours = np.where((theirs == 0) & (rng.random(4000) < 0.01), 3, theirs)
    row = next(row for row in compare(ours, theirs, 10, SETTINGS) if (row["name"], row["k"]) == ("hit_ratio", 10))
    assert row["difference"] == pytest.approx(((ours > 0).sum() - (theirs > 0).sum()) / 4000)
    assert 0 < row["ci_low"] < row["difference"] < row["ci_high"]
    apart = [rows_of(ranks, users_of(np.ones(4000, np.int64))) for ranks in (ours, theirs)]
    ours_row, theirs_row = (next(r for r in rows if (r["name"], r["k"]) == ("hit_ratio", 10)) for rows in apart)
    assert ours_row["ci_low"] < theirs_row["ci_high"]
    same = compare(theirs, theirs, 10, SETTINGS)
    assert all(row["difference"] == row["ci_low"] == row["ci_high"] == 0 for row in same)


def test_a_sample_of_users_is_fixed_and_ordered():
    users = np.arange(100, dtype=np.int32) * 2
    some = draw_users(users, 10, seed=3)
    assert len(set(some.tolist())) == 10
    assert (np.diff(some) > 0).all()
    np.testing.assert_array_equal(some, draw_users(users, 10, seed=3))
    for count in (0, 100, 1000):
        np.testing.assert_array_equal(draw_users(users, count, seed=0), users)
