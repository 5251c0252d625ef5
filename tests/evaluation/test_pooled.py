"""Several seeds count as one method: the value of a user is the mean over the seeds."""

import math

import numpy as np
import pyarrow as pa
import pytest

from semconv.settings.evaluate import EvaluateSettings
from semconv.stages.evaluate.comparison import pooled_interval, pooled_ndcg
from semconv.stages.evaluate.user_file import UserRanks

SETTINGS = EvaluateSettings(bootstrap_samples=400)


def ranks(of: dict[str, int], targets: dict[str, str] | None = None) -> UserRanks:
    """The ranks of some users; the held-out item of user ``u`` is ``item-u`` by default."""
    held_out = [(targets or {}).get(user, f"item-{user}") for user in of]
    return UserRanks(pa.array(list(of)), pa.array(held_out), np.array(list(of.values()), dtype=np.int64))


def test_the_value_of_a_user_is_the_mean_over_seeds() -> None:
    found = pooled_ndcg([ranks({"a": 1, "b": 0}), ranks({"b": 3, "a": 0}), ranks({"a": 11, "b": 1})])
    assert found == {("a", "item-a"): pytest.approx(1 / 3), ("b", "item-b"): pytest.approx((1 / math.log2(4) + 1) / 3)}


def test_users_who_are_not_in_all_runs_or_have_another_item_are_left_out() -> None:
    second = ranks({"a": 1, "b": 1, "c": 1}, {"b": "another"})
    assert pooled_ndcg([ranks({"a": 1, "b": 1, "d": 1}), second]) == {("a", "item-a"): 1.0}
    assert pooled_interval([ranks({"a": 1})], [ranks({"b": 1})], SETTINGS) is None


def test_a_difference_is_paired_over_users_and_not_over_seeds() -> None:
    users = [f"u{number}" for number in range(200)]
    rng = np.random.default_rng(0)
    worse = [ranks({user: int(rng.integers(2, 9)) for user in users}) for _ in range(2)]
    better = [ranks(dict(zip(users, (one.ranks - 1).tolist(), strict=True))) for one in reversed(worse)]
    difference, low, high = pooled_interval(better, worse, SETTINGS)
    means = [np.mean(list(pooled_ndcg(side).values())) for side in (better, worse)]
    assert difference == pytest.approx(means[0] - means[1])
    assert 0 < low < difference < high
    own = [pooled_interval(side, [], SETTINGS) for side in (better, worse)]
    assert own[0][0] == pytest.approx(means[0])
    assert high - low < own[0][2] - own[0][1]  # every user gains about as much, whatever the user's rank
    assert pooled_interval(worse, better, SETTINGS)[0] == pytest.approx(-difference)


def test_one_seed_is_the_comparison_of_two_runs() -> None:
    from semconv.evaluation.rows import compare

    rng = np.random.default_rng(1)
    mine, other = (ranks({f"u{number}": int(rng.integers(0, 12)) for number in range(50)}) for _ in range(2))
    (row,) = [row for row in compare(mine.ranks, other.ranks, 10, SETTINGS) if (row["name"], row["k"]) == ("ndcg", 10)]
    assert pooled_interval([mine], [other], SETTINGS) == (row["difference"], row["ci_low"], row["ci_high"])
