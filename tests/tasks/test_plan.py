"""The samples that an epoch draws: positions, wordings and negatives, as pure functions of seed and epoch."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semconv.data.core import train_part
from semconv.data.store import Sequences
from semconv.errors import InputError
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.negatives import draw_negatives
from semconv.tasks.plan import EpochPlan, plan_epoch
from semconv.tasks.selection import task_data
from tests.worlds import plain_rows
from tests.worlds import prompts as case
from tests.worlds.plain_rows import units_of

BARE = TaskSettings(text=False, query=False, negative_share=1.0)


def data_of(
    rows: list[list[int]],
    settings: TaskSettings = BARE,
    *,
    num_items: int = 30,
    without: tuple[int, ...] = (),
    **columns: object,
) -> TaskData:
    has_codes = np.ones(num_items, dtype=bool)
    has_codes[list(without)] = False
    titles = [f"item {item}" for item in range(num_items)]
    return task_data(case.sequences(rows, **columns), has_codes, titles, [None] * num_items, settings)


def flat(plan: EpochPlan) -> list[tuple[int, int, int, int, int, int, tuple[int, ...]]]:
    """One row a position: user, head, start, position, sequential tail, negative tail, negatives."""
    return [
        (unit.user, unit.head, unit.start, position, sequential, negative, tuple(negatives))
        for unit in units_of(plan.histories)
        for position, (sequential, negative), negatives in zip(
            unit.positions.tolist(), unit.tails.tolist(), unit.answers[1].tolist(), strict=True
        )
    ]


def test_draws_are_a_pure_function_of_seed_and_epoch() -> None:
    rows = [[user + step for step in range(8)] for user in range(12)]
    settings = TaskSettings(late_position_share=0.5, query=False, negative_share=1.0)
    data = data_of(rows, settings)
    first = plan_epoch(data, settings, 3, 4)
    again = plan_epoch(data_of(rows, settings), settings, 3, 4)
    assert flat(first) == flat(again)
    assert list(first.texts) == list(again.texts)
    for other in (plan_epoch(data, settings, 4, 4), plan_epoch(data, replace(settings, seed=1), 3, 4)):
        assert flat(other) != flat(first)
        assert list(other.texts) != list(first.texts)
        assert [row[6] for row in flat(other)] != [row[6] for row in flat(first)]


@given(
    rows=st.lists(st.lists(st.integers(0, 11), min_size=0, max_size=14), min_size=1, max_size=6),
    negatives=st.integers(0, 3),
    epoch=st.integers(0, 50),
    length=st.integers(1, 6),
    shares=st.tuples(*(st.sampled_from([0.0, 0.5, 1.0]) for _ in range(3))),
    is_low=st.integers(0, 2**20),
)
def test_plans_equal_those_made_one_position_at_a_time(
    rows: list[list[int]], negatives: int, epoch: int, length: int, shares: tuple[float, ...], is_low: int
) -> None:
    settings = TaskSettings(
        negatives=negatives,
        negative_share=shares[0],
        late_position_share=shares[1],
        position_share=shares[2],
        negative_rating_max=2.0,
        query=False,
    )
    ratings = [1.0 if is_low >> (row % 20) & 1 else 5.0 for row in range(sum(map(len, rows)))]
    data = data_of(rows, settings, ratings=ratings)
    made = [
        (user, head, start, [row[3:] for row in positions])
        for (user, head, start), positions in itertools.groupby(
            flat(plan_epoch(data, settings, epoch, length)), lambda row: row[:3]
        )
    ]
    assert made == list(plain_rows.history_units(data, settings, epoch, length))
    table = draw_negatives(data, negatives, np.random.default_rng(epoch))
    for row in range(len(data.items)):
        ahead = plain_rows.disliked_ahead(data, row, negatives)
        assert table[row, : len(ahead)].tolist() == ahead.tolist()


def test_one_head_a_user_and_one_tail_for_each_position_and_task() -> None:
    rows = [[user + step for step in range(9)] for user in range(15)]
    heads, tails = defaultdict(set), set()
    for row in flat(plan_epoch(data_of(rows), replace(BARE, late_position_share=1.0), 0, 5)):
        heads[row[0]].add(row[1])
        tails.add((row[4], row[5]))
    assert all(len(found) == 1 for found in heads.values())
    assert len({next(iter(found)) for found in heads.values()}) > 3
    assert len(tails) > 20  # the tails of the two tasks are drawn independently at each position


def test_every_position_of_a_short_history_is_asked_once_and_late_ones_from_a_trunk_of_their_own() -> None:
    settings = replace(BARE, late_position_share=1.0)
    data = data_of([list(range(9)), [5], [], [3, 4]], settings)
    units = units_of(plan_epoch(data, settings, 0, 4).histories)
    assert [(unit.user, unit.start, unit.positions.tolist()) for unit in units] == [
        (0, 0, [1, 2, 3, 4]),
        (0, 1, [4]),
        (0, 2, [4]),
        (0, 3, [4]),
        (0, 4, [4]),
        (3, 10, [1]),
    ]
    asked = [(unit.user, unit.start + int(position)) for unit in units for position in unit.positions]
    assert asked == [(0, row) for row in range(1, 9)] + [(3, 11)]


def test_late_position_share_draws_that_share_of_the_late_positions() -> None:
    settings = replace(BARE, late_position_share=0.25, negatives=0)
    data = data_of([list(range(30)) for _ in range(40)], settings)
    late = sum(len(unit.positions) == 1 for unit in units_of(plan_epoch(data, settings, 0, 10).histories))
    assert 0.2 < late / (40 * 19) < 0.3
    assert not any(
        len(unit.positions) == 1
        for unit in units_of(plan_epoch(data, replace(settings, late_position_share=0.0), 0, 10).histories)
    )


def test_place_share_draws_that_share_of_the_first_positions_and_always_the_latest() -> None:
    settings = replace(BARE, late_position_share=0.0, negatives=0)
    data = data_of([list(range(30)) for _ in range(80)] + [[3, 4, 5]], settings)
    units = units_of(plan_epoch(data, replace(settings, position_share=0.25), 0, 20).histories)
    assert [unit.positions[-1] for unit in units] == [20] * 80 + [2]
    asked = sum(len(unit.positions) - 1 for unit in units[:80])
    assert 0.2 < asked / (80 * 19) < 0.3
    none = units_of(plan_epoch(data, replace(settings, position_share=0.0), 0, 20).histories)
    assert [unit.positions.tolist() for unit in none] == [[20]] * 80 + [[2]]


def test_items_without_codes_leave_history_and_labels_but_are_no_negatives() -> None:
    data = data_of([[0, 1, 2, 3], [4, 5]], num_items=7, without=(1, 5))
    assert data.items.tolist() == [0, 2, 3, 4]
    plan = plan_epoch(data, BARE, 0, 20)
    assert plan.histories.user.tolist() == [0]
    assert {item for row in flat(plan) for item in row[6]} <= {4, 6}


def test_an_item_outside_the_core_is_no_negative_of_its_users() -> None:
    whole = case.sequences([[0, 1, 2], [3, 4, 0]])
    core = case.sequences([[0, 1], [3, 0]])
    has_codes = np.ones(6, dtype=bool)
    data = task_data(core, has_codes, [None] * 6, [None] * 6, BARE, whole)
    for epoch in range(8):
        for user, *_, hated in flat(plan_epoch(data, BARE, epoch, 20)):
            assert not set(hated) & set(whole.of(user).tolist())


@given(
    rows=st.lists(st.lists(st.integers(0, 11), min_size=0, max_size=14), min_size=1, max_size=6),
    negatives=st.integers(1, 5),
    epoch=st.integers(0, 50),
    without=st.sets(st.integers(0, 11), max_size=3),
)
def test_negatives_are_never_of_the_users_own_sequence(
    rows: list[list[int]], negatives: int, epoch: int, without: set[int]
) -> None:
    settings = replace(BARE, negatives=negatives, late_position_share=1.0, text=True)
    try:
        data = data_of(rows, settings, num_items=12, without=tuple(without))
    except InputError:
        return
    coded = set(range(12)) - without
    for user, *_, negative, hated in flat(plan_epoch(data, settings, epoch, 4)):
        left = coded - set(rows[user])
        assert len(hated) == negatives
        assert set(hated) <= left if left else set(hated) == {-1}
        assert (negative >= 0) == bool(left)


def test_three_negatives_a_positive_uniform_over_what_is_left() -> None:
    data = data_of([[0, 1, 2]] * 400, num_items=9)
    rows = flat(plan_epoch(data, BARE, 0, 20))
    counts = np.bincount([item for row in rows for item in row[6]], minlength=9)
    assert len(rows) == 800
    assert counts[:3].sum() == 0
    assert counts.sum() == 2400
    assert abs(counts[3:] - 400).max() < 100


def test_a_user_who_touched_all_but_one_gets_that_one() -> None:
    data = data_of([list(range(499))], num_items=500)
    assert {item for row in flat(plan_epoch(data, BARE, 0, 20)) for item in row[6]} == {499}


def test_disliked_items_leave_the_labels_and_are_negatives_first() -> None:
    settings = replace(BARE, query=True, negatives=2, negative_rating_max=2.0)
    ratings = [5, 5, 1, 4, 2, np.nan, 3]
    queries = [f"words {row}" for row in range(7)]
    data = data_of([[0, 1, 2, 3, 4, 5, 6]], settings, ratings=ratings, queries=queries)
    rows = {row[3]: row for row in flat(plan_epoch(data, settings, 0, 20))}
    assert {position for position, row in rows.items() if row[4] >= 0} == {1, 3, 5, 6}  # 2 and 4 are disliked
    assert rows[1][6] == (2, 4)
    assert rows[2][6] == (2, 4)
    assert rows[3][6][0] == 4
    assert rows[4][6][0] == 4
    for filled in (rows[3][6][1:], rows[4][6][1:], rows[5][6], rows[6][6]):
        assert set(filled) <= set(range(7, 30))
    asked = {int(data.texts["query"].rows[text.sample]) for text in plan_epoch(data, settings, 0, 20).texts}
    assert asked == {0, 1, 3, 5, 6}
    assert plan_epoch(data, settings, 0, 20).histories.position[-1] == 6  # disliked items stay in the history


def test_disliked_items_do_not_reach_over_to_the_next_user() -> None:
    settings = replace(BARE, negatives=1, negative_rating_max=1.0)
    data = data_of([[0, 1], [2, 3], [4, 5]], settings, ratings=[5, 5, 1, 1, 5, 1])
    rows = {row[0]: row for row in flat(plan_epoch(data, settings, 0, 20))}
    drawn = {flat(plan_epoch(data, settings, epoch, 20))[0][6] for epoch in range(12)}
    assert len(drawn) > 5  # the first user dislikes nothing and gets random items
    assert rows[1][6] == (3,)
    assert rows[2][6] == (5,)


def test_tasks_can_be_turned_off_one_by_one() -> None:
    queries = ["words", None, None]
    for off, tasks in {
        "sequential": {"negative", "text", "query"},
        "text": {"sequential", "negative", "query"},
        "query": {"sequential", "negative", "text"},
    }.items():
        settings = replace(BARE, **{"text": True, "query": True, off: False})
        plan = plan_epoch(data_of([[0, 1, 2]], settings, queries=queries), settings, 0, 20)
        found = {text.task.name for text in plan.texts}
        found |= {"sequential" for row in flat(plan) if row[4] >= 0} | {"negative" for row in flat(plan) if row[5] >= 0}
        assert found == tasks
    alone = replace(BARE, sequential=False)
    assert all(row[4] == -1 and row[5] >= 0 for row in flat(plan_epoch(data_of([[0, 1, 2]], alone), alone, 0, 20)))
    none = replace(BARE, negatives=0)
    assert all(row[4] >= 0 and row[5] == -1 for row in flat(plan_epoch(data_of([[0, 1, 2]], none), none, 0, 20)))


def test_negative_share_draws_whole_users() -> None:
    settings = replace(BARE, negative_share=0.5)
    data = data_of([[0, 1, 2, 3]] * 200, settings)
    asked = defaultdict(set)
    for row in flat(plan_epoch(data, settings, 0, 20)):
        asked[row[0]].add(row[5] >= 0)
    assert all(len(found) == 1 for found in asked.values())
    assert 70 < sum(found == {True} for found in asked.values()) < 130


def test_shares_of_the_tasks_with_text_draw_another_part_each_epoch() -> None:
    queries = [f"words {row}" for row in range(300)]
    settings = TaskSettings(text_share=0.5, query_share=0.2)
    data = data_of([[user, user + 1, user + 2] for user in range(100)], settings, num_items=200, queries=queries)
    everything = list(plan_epoch(data, TaskSettings(), 0, 20).texts)
    assert [unit.task.name for unit in everything] == ["text"] * 200 + ["query"] * 300
    drawn = [list(plan_epoch(data, settings, epoch, 20).texts) for epoch in range(2)]
    assert drawn[0] == list(plan_epoch(data, settings, 0, 20).texts) != drawn[1]
    assert [unit for unit in everything if unit in drawn[0]] == drawn[0]  # the same wordings, some left out
    assert 70 < sum(unit.task.name == "text" for unit in drawn[0]) < 130
    assert 35 < sum(unit.task.name == "query" for unit in drawn[0]) < 85
    assert not len(plan_epoch(data, replace(settings, text_share=0.0, query_share=0.0), 0, 20).texts)


@pytest.mark.parametrize("ratio", range(6))
def test_a_positive_has_as_many_negatives_as_set(ratio: int) -> None:
    settings = replace(BARE, negatives=ratio)  # paper, Table 4: 1:0 to 1:5
    rows = flat(plan_epoch(data_of([[0, 1, 2, 3], [4, 5]], settings), settings, 0, 20))
    assert sum(row[4] >= 0 for row in rows) == 4
    assert sum(item >= 0 for row in rows if row[5] >= 0 for item in row[6]) == 4 * ratio


@pytest.mark.parametrize(
    ("settings", "rows", "message"),
    [
        (BARE, [[1], [2], []], "no training user has two items with codes, and the tasks with text are off; lower"),
        (replace(BARE, query=True), [[1], [2]], "two items with codes, and there is no text; lower"),
        (replace(BARE, text=True, text_share=0.0), [[1], [2]], "and the tasks with text are off; lower"),
        (replace(BARE, sequential=False, negatives=0), [[1, 2, 3]], "sequential and the negative task are off, and"),
        (replace(BARE, sequential=False, negative_share=0.0), [[1, 2, 3]], "sequential and the negative task are off"),
        (replace(BARE, negatives=0, negative_rating_max=5.0), [[1, 2, 3]], "every next item is disliked and there are"),
    ],
)
def test_nothing_to_train_on_is_an_error(settings: TaskSettings, rows: list[list[int]], message: str) -> None:
    with pytest.raises(InputError, match=rf"^no task has a training sample: .*{message}"):
        data_of(rows, settings, ratings=[1.0] * sum(map(len, rows)))


def test_a_shop_without_interactions_or_text_has_nothing_to_train_on() -> None:
    empty = Sequences(
        [], np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.float32), []
    )
    with pytest.raises(InputError, match="no task has a training sample"):
        task_data(empty, np.zeros(0, bool), [], [], BARE)


def test_one_user_of_two_items_is_enough() -> None:
    plan = plan_epoch(data_of([[3, 4]], num_items=6), BARE, 0, 20)
    assert [(row[0], row[3]) for row in flat(plan)] == [(0, 1)]
    alone = plan_epoch(data_of([[0, 1]], num_items=2), BARE, 0, 20)  # nothing is left to be a negative
    assert [(row[4] >= 0, row[5], set(row[6])) for row in flat(alone)] == [(True, -1, {-1})]


def test_histories_of_one_item_ask_about_every_position_from_trunks_of_one() -> None:
    settings = replace(BARE, late_position_share=1.0)
    rows = flat(plan_epoch(data_of([[4, 5, 6, 7]], settings), settings, 0, 1))
    assert [(row[2], row[3]) for row in rows] == [(0, 1), (1, 1), (2, 1)]


def test_items_held_out_from_training_are_drawn_as_negatives() -> None:
    whole = case.sequences([[0, 1, 2, 3, 4]])
    train = train_part(whole, "[:-2]", 1, 5)
    data = task_data(train, np.ones(5, dtype=bool), [None] * 5, [None] * 5, BARE, train)
    drawn = [item for epoch in range(6) for row in flat(plan_epoch(data, BARE, epoch, 20)) for item in row[6]]
    assert set(drawn) == {3, 4}  # without them the model would learn which items are held out
