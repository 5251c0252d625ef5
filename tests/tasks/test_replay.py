"""New samples, known by construction, and the share of the others that an epoch draws again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semconv.data.store import Sequences
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.plan import plan_epoch
from semconv.tasks.replay import TunedOn, count_new, replay_since
from semconv.tasks.selection import task_data
from tests.worlds import prompts as case
from tests.worlds.plain_rows import units_of

NUM_ITEMS = 30
TASKS = TaskSettings(negatives=1, negative_share=1.0, late_position_share=1.0)
Events = list[tuple[int, int]]  # item and time of a user's interactions, in order


def data_of(users: list[Events], *, without: tuple[int, ...] = (), untitled: tuple[int, ...] = ()) -> TaskData:
    """Make training data; interactions of items below 10 have a query."""
    rows = [[item for item, _ in events] for events in users]
    flat = [item for row in rows for item in row]
    made = case.sequences(rows, queries=[f"something like {item}" if item < 10 else None for item in flat])
    times = np.array([time for events in users for _, time in events], dtype=np.int64)
    sequences = Sequences(made.user_ids, made.offsets, made.items, times, made.ratings, made.queries)
    has_codes = np.ones(NUM_ITEMS, dtype=bool)
    has_codes[list(without)] = False
    titles = [None if item in untitled else f"item {item}" for item in range(NUM_ITEMS)]
    return task_data(sequences, has_codes, titles, [None] * NUM_ITEMS, TASKS)


def since(before: TaskData, now: TaskData, share: float = 0.0, epochs_before: int = 0) -> TaskData:
    return replace(now, replay=replay_since(TunedOn.of(before), now, share, epochs_before))


def asked(data: TaskData, epoch: int = 0, history_length: int = 4) -> set[tuple[str, int, int]]:
    """Return task, user and row (for a text: item) of every sample of an epoch."""
    plan = plan_epoch(data, TASKS, epoch, history_length)
    found = set()
    found |= {(one.task.name, one.user, one.start + one.position) for one in plan.histories.questions()}
    for text in plan.texts:
        row = int(data.texts[text.task.name].rows[text.sample])
        found.add(("text", -1, text.item) if text.task.name == "text" else ("query", text.user, row))
    return found


OLD: list[Events] = [[(1, 1), (20, 2), (3, 5)], [(4, 1), (5, 2)], [(6, 1)], [(1, 7), (7, 8), (1, 9)]]
BOTH = ("sequential", "negative")


def test_interactions_at_the_end_in_the_middle_and_of_new_users_are_new() -> None:
    now = [
        [(1, 1), (20, 2), (8, 4), (3, 5)],  # row 2 came late
        [(4, 1), (5, 2), (21, 3)],  # row 6 came last
        [(6, 1), (9, 2)],  # row 8: the first that has a history
        [(1, 7), (7, 8), (1, 9)],
        [(2, 1), (22, 2)],  # rows 12 and 13: another user
    ]
    data = since(data_of(OLD), data_of(now))
    expected = {(task, user, row) for task in BOTH for user, row in ((0, 2), (1, 6), (2, 8), (4, 13))}
    assert asked(data) == expected | {("query", 0, 2), ("query", 2, 8), ("query", 4, 12)}
    assert count_new(data) == {"positions": 4, "texts": 0, "queries": 3}


def test_the_same_item_again_is_told_from_the_first_by_its_time() -> None:
    now = [*OLD[:3], [(1, 6), (1, 7), (7, 8), (7, 8), (1, 9)]]  # rows 6 and 9 are new: an earlier 1, a second 7 at once
    data = since(data_of(OLD), data_of(now))
    expected = {(task, 3, 9) for task in BOTH} | {("query", 3, 6), ("query", 3, 9)}
    assert asked(data) == expected  # row 7 is not new, though the first of the user is another now


def test_without_times_the_later_of_two_equal_interactions_is_new() -> None:
    old, now = [[(1, 0), (2, 0)]], [[(1, 0), (1, 0), (2, 0)]]
    assert asked(since(data_of(old), data_of(now))) == {*((task, 0, 1) for task in BOTH), ("query", 0, 1)}


def test_items_that_had_no_codes_or_no_text_are_new() -> None:
    before = data_of(OLD, without=(20, 25), untitled=(3,))
    data = since(before, data_of(OLD))
    assert asked(data) == {*((task, 0, 1) for task in BOTH), ("text", -1, 20), ("text", -1, 25), ("text", -1, 3)}


def test_nothing_new_asks_about_nothing() -> None:
    data = since(data_of(OLD), data_of(OLD))
    assert asked(data) == set()
    assert not any(count_new(data).values())


def test_the_record_of_a_tuning_can_be_written_and_read() -> None:
    kept = TunedOn.from_arrays(TunedOn.of(data_of(OLD)).arrays())
    assert not replay_since(kept, data_of(OLD), 0.0, 0).is_new_row.any()


MANY: list[Events] = [[(user * 3 % 10 + step, step) for step in range(6)] for user in range(400)]


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_is_of_users_texts_and_queries_and_changes_every_epoch(share: float) -> None:
    data = since(data_of(MANY), data_of(MANY), share)
    everything = asked(data_of(MANY))
    drawn = [asked(data, epoch) for epoch in range(3)]
    users = [{user for task, user, _ in one if task == "sequential"} for one in drawn]
    for one, of in zip(drawn, users, strict=True):
        assert one < everything
        assert {row for row in one if row[0] in BOTH} == {row for row in everything if row[0] in BOTH and row[1] in of}
        assert len(of) / 400 == pytest.approx(share, abs=0.1)
        queries = [sum(row[0] == "query" for row in rows) for rows in (one, everything)]
        assert queries[0] / queries[1] == pytest.approx(share, abs=0.1)
    assert len({frozenset(of) for of in users}) == 3


def test_draws_are_a_pure_function_of_seed_and_epoch_and_go_on_from_the_earlier_tuning() -> None:
    data, again = (since(data_of(MANY), data_of(MANY), 0.3) for _ in range(2))
    assert asked(data, 2) == asked(again, 2)
    assert asked(since(data_of(MANY), data_of(MANY), 0.3, epochs_before=2), 0) == asked(data, 2)
    plan, later = plan_epoch(data, TASKS, 1, 4), plan_epoch(data, replace(TASKS, seed=1), 1, 4)
    assert set(plan.histories.user.tolist()) != set(later.histories.user.tolist())


def test_a_share_of_one_draws_a_whole_epoch() -> None:
    now = [*MANY[:-1], [*MANY[-1], (29, 99)]]
    whole, data = plan_epoch(data_of(now), TASKS, 4, 4), since(data_of(MANY), data_of(now), 1.0)
    drawn = plan_epoch(data, TASKS, 4, 4)
    for name, column in vars(whole.histories).items():
        assert np.array_equal(getattr(drawn.histories, name), column), name
    assert list(drawn.texts) == list(whole.texts)


def test_a_wording_does_not_depend_on_what_else_is_drawn() -> None:
    now = [*MANY[:-1], [*MANY[-1], (29, 99)]]
    data = since(data_of(MANY), data_of(now))
    (unit,) = units_of(plan_epoch(data, TASKS, 0, 20).histories)
    whole = [one for one in units_of(plan_epoch(data_of(now), TASKS, 0, 20).histories) if one.user == unit.user][-1]
    assert (unit.head, unit.positions[-1], unit.start) == (whole.head, whole.positions[-1], whole.start)
    assert unit.tails.tolist() == whole.tails[-1:].tolist()


_event = st.tuples(st.integers(0, 5), st.integers(0, 3))


@settings(max_examples=60)
@given(st.lists(st.lists(_event, max_size=6), min_size=1, max_size=4), st.data())
def test_what_is_new_is_what_was_added(old: list[Events], draw: Any) -> None:
    """As many rows of an item at a time are new as were added of it, wherever they were put."""
    added = [draw.draw(st.lists(_event, max_size=3)) for _ in old]
    now = [sorted([*events, *more], key=lambda event: event[1]) for events, more in zip(old, added, strict=True)]
    data = since(data_of([sorted(events, key=lambda event: event[1]) for events in old]), data_of(now))
    assert data.replay is not None
    user = np.repeat(np.arange(len(now)), np.diff(data.offsets))
    is_new = data.replay.is_new_row
    found = sorted(zip(user[is_new].tolist(), data.items[is_new].tolist(), data.times[is_new].tolist(), strict=True))
    assert found == sorted((user, item, time) for user, more in enumerate(added) for item, time in more)
