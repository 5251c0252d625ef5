"""The standings of a leaderboard: segments by transition, figures and differences by hand, and recent popularity."""

import numpy as np
import pytest

from semconv.blend.tables import EventDays
from semconv.evaluation.recent_items import rank_by_recent
from semconv.evaluation.rows import compare
from semconv.evaluation.segments import EvaluatedUsers, has_known_transition, segments
from semconv.evaluation.standings import SHOWN_SEGMENTS, standings, strongest
from semconv.settings.evaluate import EvaluateSettings
from tests.worlds.sequences import sequences_of

SETTINGS = EvaluateSettings(bootstrap_samples=50)
DAY = 86_400_000_000  # microseconds


def users(known: list[bool], popularity: list[int]) -> EvaluatedUsers:
    counts = np.array(popularity)
    return EvaluatedUsers(np.full(len(known), 3), counts, counts == 0, None, np.array(known))


def test_a_transition_is_known_only_in_its_direction_and_inside_one_sequence() -> None:
    train = sequences_of([[0, 1, 2], [], [3], [4, 0]])
    latest, targets = np.array([0, 1, 2, 2, 3, 0, -1, 4], np.int32), np.array([1, 0, 3, 1, 4, 2, 4, 0], np.int32)
    found = has_known_transition(train, latest, targets, 5)
    assert found.tolist() == [True, False, False, False, False, False, False, True]
    assert not has_known_transition(sequences_of([[], []]), latest, targets, 5).any()


def test_the_three_kinds_of_targets_are_all_users_once() -> None:
    rng = np.random.default_rng(0)
    found = dict(segments(users((rng.random(50) < 0.5).tolist(), rng.integers(0, 3, 50).tolist())))
    parts = [found[name] for name in SHOWN_SEGMENTS[1:]]
    assert (sum(part.astype(int) for part in parts) == 1).all()
    plain = EvaluatedUsers(np.ones(4, int), np.ones(4, int), np.zeros(4, bool))
    assert not any("transition" in name for name, _ in segments(plain))


def test_figures_and_differences_of_each_segment() -> None:
    ours, theirs = np.array([1, 0, 3, 0, 11]), np.array([3, 1, 0, 0, 1])
    evaluated = users([True, True, False, False, False], [5, 2, 1, 4, 0])
    rows = standings({"ours": ours, "theirs": theirs}, evaluated, {"reference": "theirs"}, SETTINGS)
    assert [(row["method"], row["segment"], row["num_users"]) for row in rows] == [
        (method, segment, count)
        for method in ("ours", "theirs")
        for segment, count in zip(SHOWN_SEGMENTS, (5, 2, 2, 1), strict=True)
    ]
    every, known, new, cold = rows[:4]
    assert every["ndcg@10"] == pytest.approx((1 + 0.5) / 5)
    assert every["hr@10"] == pytest.approx(2 / 5)
    assert (known["ndcg@10"], known["hr@10"]) == (0.5, 0.5)
    assert (new["ndcg@10"], new["ndcg@10_less_reference"]) == (0.25, 0.25)
    assert (cold["hr@10"], cold["hr@10_less_reference"]) == (0, -1)  # rank 11 is a miss
    wanted = {(row["name"], row["k"]): row for row in compare(ours, theirs, 10, SETTINGS)}["ndcg", 10]
    names = ("ndcg@10_less_reference", "ndcg@10_less_reference_low", "ndcg@10_less_reference_high")
    assert [every[name] for name in names] == [wanted[name] for name in ("difference", "ci_low", "ci_high")]
    assert [rows[4][name] for name in names] == [None] * 3
    assert every["ndcg@10_low"] <= every["ndcg@10"] <= every["ndcg@10_high"]


def test_the_strongest_is_found_among_the_named_rows_alone() -> None:
    ranks = {"best": np.array([1, 1]), "a": np.array([2, 0]), "b": np.array([1, 0]), "c": np.array([1, 0])}
    assert strongest(ranks, ("c", "b", "a")) == "b"  # the first row of the equal ones
    assert strongest(ranks, ("a", "missing")) == "a"
    assert strongest(ranks, ()) is None


def test_recent_items_are_those_of_each_users_own_weeks() -> None:
    items, days = np.array([0, 0, 0, 1, 1, 2], np.int32), np.array([1, 2, 3, 40, 41, 60])
    events, popularity = EventDays.of(sequences_of([items], days * DAY), 5), np.bincount(items, minlength=5)
    seen = [np.array(row, np.int32) for row in ([], [0], [1, 1], [], [3])]
    asked = np.array([3.0, 3.0, 41.0, 60.0, np.nan])
    allowed = np.array([True, True, True, True, False])
    found = rank_by_recent(events, popularity, asked, allowed, seen, width=28, k=4)
    assert found.tolist() == [
        [0, 1, 2, 3],  # on day 3 nobody has items 1 and 2 yet; popularity decides between equal counts
        [1, 2, 3, -1],
        [0, 2, 3, -1],  # the events of days 1 to 3 are too old on day 41
        [1, 2, 0, 3],
        [0, 1, 2, -1],
    ]
    assert rank_by_recent(events, popularity, asked[3:4], allowed, None, width=5, k=2).tolist() == [[2, 0]]
