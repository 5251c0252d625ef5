"""Held-out items that no list can contain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from semconv.columns import UNREACHABLE
from semconv.data.event_rules import EventRules
from semconv.data.histories import Histories
from semconv.data.splits import targets
from semconv.data.store import Catalog, Sequences
from semconv.stages.evaluate.reachable import Reach
from tests.worlds.sequences import sequences_of

# As in a shop with repeats: every second of 40 users takes the first of six items again at the end.
_ROWS = [[(user + step) % 9 for step in (*range(6), *([0] if user % 2 == 0 else []))] for user in range(40)]


def reach(
    sequences: Sequences, *, is_masked: bool = True, removed: int = -1, closed: int = -1, uncoded: int = -1
) -> Reach:
    items = np.arange(9)
    catalog = Catalog([str(item) for item in items], [None] * 9, [None] * 9, items != removed)
    allowed = (items != removed) & (items != closed)
    users = np.flatnonzero(targets(sequences, "test") >= 0).astype(np.int32)
    masking = Histories.under(sequences, "test") if is_masked else None
    return Reach.of(targets(sequences, "test")[users], users, masking, catalog, allowed, items != uncoded)


def test_a_kept_repeat_is_masked_and_a_collapsed_one_is_no_target() -> None:
    plain = sequences_of(_ROWS)
    for sequences, number in ((plain.with_rules(EventRules(collapses=False)), 20), (plain.with_rules(EventRules()), 0)):
        found = reach(sequences)
        assert found.counts() == {**dict.fromkeys(UNREACHABLE, 0), "num_targets_masked": number}
        assert found.is_reachable.sum() == 40 - number
    assert reach(plain, is_masked=False).is_reachable.all()
    assert reach(plain).warning() == (
        "20 of 40 held-out items (50.0%) can be in no list of the model: 20 are in the user's history and masked (look at"
        " events.repeats, events.seen, recommend.seen and recommend.seen_days)"
    )


def test_each_reason_is_counted_once_and_the_first_one_counts() -> None:
    sequences = sequences_of([[0, 1, 2], [0, 1, 3], [0, 1, 4], [0, 1, 1], [0, 1, 5]])
    found = reach(sequences, removed=2, closed=3, uncoded=4)
    assert found.counts() == dict.fromkeys(UNREACHABLE, 1)
    assert found.is_reachable.tolist() == [False] * 4 + [True]
    assert reach(sequences, removed=1, closed=1, uncoded=1).counts()["num_targets_masked"] == 1
    assert sum(reach(sequences, removed=2, uncoded=2).counts().values()) == 2


def test_few_unreachable_items_are_no_warning() -> None:
    rows = [[0, 1, 2]] * 95 + [[0, 1, 1]] * 5
    assert reach(sequences_of(rows)).warning() == ""
    assert reach(sequences_of([*rows[1:], [0, 1, 1]])).warning().startswith("6 of 100 held-out items (6.0%)")
    assert replace(reach(sequences_of(rows))).counts()["num_targets_masked"] == 5
