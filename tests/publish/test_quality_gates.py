"""The gates on quality: what their SQL measures, which users they compare, and which method they name, on known ranks."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from semconv.data.store import Store
from semconv.errors import InputError
from semconv.progress import Silent
from semconv.runs.book import RunBook
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.gates import GateSettings
from semconv.settings.tree import Settings
from semconv.stages.evaluate.again import (
    DRAWN_USERS,
    ListMaker,
    ScoredLists,
    compare_popularity,
    compare_served,
    drawn_users,
)
from semconv_warehouse.gates.gate import Finding, Guard
from semconv_warehouse.gates.quality import advice, measured

# Only the settings of the bootstrap are read.
WORKSPACE = Workspace(cast("Store", None), cast("RunBook", None), Settings(), Silent())


def finding(gate: str, rows: list[dict[str, Any]]) -> Finding:
    (found,) = measured(Guard(GateSettings()), gate, rows)
    return found


def row(ours: float, theirs: float, low: float, high: float, *, name: str = "ndcg", k: int = 10) -> dict[str, Any]:
    figures = {"ours": ours, "theirs": theirs, "difference": ours - theirs, "ci_low": low, "ci_high": high}
    return {"name": name, "k": k, **figures, "num_users": 1234, "our_method": "model", "their_method": "blend"}


def scored(ranks: dict[str, list[int]], *, served: str = "model", first: int = 0) -> ScoredLists:
    """Return the ranks of users from ``first`` on."""
    lists = {method: np.array(values, dtype=np.int64) for method, values in ranks.items()}
    return ScoredLists(np.arange(first, first + len(lists[served]), dtype=np.int32), lists, served, 20)


@pytest.mark.parametrize(
    ("ours", "theirs", "low", "high", "fall", "is_failed"),
    [
        (0.0231, 0.3458, -0.34, -0.31, 0.31 / 0.3458, True),
        (0.3, 0.4, -0.15, -0.05, 0.125, True),  # the whole interval lies beyond a fall of 10 %
        (0.3, 0.4, -0.19, -0.01, 0.025, False),  # a fall of 25 % by chance
        (0.5, 0.4, 0.05, 0.15, -0.375, False),
        (0.0, 0.0, 0.0, 0.0, None, False),
    ],
)
def test_the_fall_is_measured_at_the_best_end_of_the_interval(
    ours: float, theirs: float, low: float, high: float, fall: float | None, is_failed: bool
) -> None:
    found = finding("max_quality_drop", [row(ours, theirs, low, high), row(1, 1, 1, 1, name="hit_ratio")])
    assert found.measured == (None if fall is None else pytest.approx(fall))
    assert found.is_failed is is_failed
    values = f"NDCG@10 is {ours:.4f} with the new model and {theirs:.4f} with the served blend on the same 1,234 users"
    assert values in found.found


def test_the_line_of_a_fall_says_the_least_fall_and_the_limit() -> None:
    text = finding("max_quality_drop", [row(0.1, 0.4, -0.35, -0.2)]).text()
    assert text.endswith("that is a fall of at least 50.0%; gates.max_quality_drop allows at most 10.0%")


@pytest.mark.parametrize(("high", "is_failed"), [(-0.001, True), (0.0, False), (0.02, False)])
def test_a_method_is_below_popularity_if_its_whole_interval_is(high: float, is_failed: bool) -> None:
    assert finding("above_popularity", [row(0.1, 0.2, -0.3, high)]).is_failed is is_failed


def test_the_longest_cutoff_up_to_ten_is_measured() -> None:
    rows = [row(0.1, 0.2, -0.2, -0.1, k=k) for k in (1, 5)]
    assert "NDCG@5 is" in finding("max_quality_drop", rows).found
    longer = [row(0.1, 0.2, -0.2, -0.1, k=k) for k in (20, 10)]
    assert "NDCG@10 is" in finding("max_quality_drop", [*rows, *longer]).found


def test_two_models_are_compared_on_the_users_of_both() -> None:
    good, bad = scored({"model": [1] * 40}), scored({"blend": [0] * 30 + [1] * 30}, served="blend", first=10)
    rows = compare_served(WORKSPACE, bad, good)  # users 10 to 39 are in both, and all are misses of the new blend
    assert {r["num_users"] for r in rows} == {30}
    found = finding("max_quality_drop", rows)
    assert (found.measured, found.is_failed) == (1.0, True)
    assert not finding("max_quality_drop", compare_served(WORKSPACE, good, bad)).is_failed


def test_too_few_users_refuse_nothing() -> None:
    few = scored({"model": [0] * 29, "popularity": [1] * 29})
    for compare in (lambda: compare_served(WORKSPACE, few, few), lambda: compare_popularity(WORKSPACE, few)):
        with pytest.raises(InputError, match="29 users have a held-out item, and a comparison needs at least 30"):
            compare()
    for rows in ([], [{**row(0, 1, -1, -1), "num_users": 29}]):
        with pytest.raises(InputError, match="a comparison needs at least 30"):
            finding("above_popularity", rows)


def maker(targets: list[int]) -> ListMaker:
    """Return the lists of a run whose users have these held-out items; -1 for none. No finished lists exist."""
    made = ListMaker(WORKSPACE, cast("Lineage", None), "model", np.array(targets, dtype=np.int32))
    vars(made)["_finished"] = None  # finding them needs a project
    return made


def test_users_with_the_same_held_out_item_are_drawn() -> None:
    ours, theirs = maker([5] * 40 + [-1, 5]), maker([5] * 35 + [6] * 5 + [5, -1])
    assert drawn_users(ours).tolist() == [*range(40), 41]
    assert drawn_users(ours, theirs).tolist() == list(range(35))
    with pytest.raises(InputError, match="1 user has a held-out item that is the same under both splits"):
        drawn_users(ours, maker([5] + [7] * 41))
    many = maker([3] * (DRAWN_USERS + 500))
    assert len(drawn_users(many)) == DRAWN_USERS
    assert np.array_equal(drawn_users(many), drawn_users(many, many))  # so that both gates need one pass of lists


def test_lists_below_popularity_fail_and_the_best_method_is_named() -> None:
    lists = scored({"model": [0] * 50, "blend": [1] * 50, "popularity": [3] * 50})
    found = finding("above_popularity", compare_popularity(WORKSPACE, lists))
    assert found.is_failed
    assert "with the new model and 0.5000 with popularity" in found.found
    assert advice(lists.ranks) == 'serve blend instead (NDCG@10 1.0000), with blend.use = "always"'
    as_good = scored({"model": [3] * 50, "popularity": [3] * 50})
    assert not finding("above_popularity", compare_popularity(WORKSPACE, as_good)).is_failed


@pytest.mark.parametrize(
    ("best", "how"),
    [
        ("model", 'with blend.use = "never"'),
        ("blend-without-model", "with blend.model = false"),
        ("popularity", "with `semconv recommend load`, until a model ranks better"),
    ],
)
def test_the_advice_says_how_to_serve_the_best_method(best: str, how: str) -> None:
    ranks = {name: np.array([9, 9]) for name in ("blend", "model", "blend-without-model", "popularity")}
    assert advice({**ranks, best: np.array([3, 3])}) == f"serve {best} instead (NDCG@10 0.5000), {how}"


def test_the_served_method_must_be_among_the_scored_ones() -> None:
    with pytest.raises(InputError, match="lists of the method blend can no longer be made"):
        ScoredLists(np.arange(2, dtype=np.int32), {"model": np.array([1, 1])}, "blend", 20).of_served()


def test_a_gate_that_is_off_measures_nothing() -> None:
    off = Guard(GateSettings(max_quality_drop=0, above_popularity=False))
    for gate in ("max_quality_drop", "above_popularity"):
        assert measured(off, gate, [row(0.1, 0.2, -0.2, -0.1)]) == []
