"""Returned and disliked items: they are no history and no label, but the first negatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from semconv.data.core import core_rows, train_part
from semconv.data.event_rules import EventRules
from semconv.data.splits import train_rejections
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import Rejected, TaskData
from semconv.tasks.negatives import draw_negatives
from semconv.tasks.plan import plan_epoch
from semconv.tasks.selection import task_data
from tests.worlds.event_log import WEIGHTS, log

NUM_ITEMS = 30
SETTINGS = TaskSettings(text=False, query=False, negative_share=1.0, late_position_share=1.0)


def data_of(users: list[str], without_codes: tuple[int, ...] = ()) -> TaskData:
    sequences = log(users, EventRules(WEIGHTS))
    kept = core_rows(sequences, "[:]", 1, NUM_ITEMS)
    rows = np.flatnonzero(train_rejections(sequences, "[:]"))
    users_of = np.searchsorted(sequences.offsets, rows, side="right") - 1
    has_codes = np.ones(NUM_ITEMS, dtype=bool)
    has_codes[list(without_codes)] = False
    rejected = Rejected(users_of, rows, sequences.items[rows]).among(kept)
    train, none = train_part(sequences, "[:]", 1, NUM_ITEMS), [None] * NUM_ITEMS
    return task_data(train, has_codes, none, none, SETTINGS, None, rejected)


def test_the_next_returned_items_of_the_user_are_the_first_negatives() -> None:
    data = data_of(["b1 b9 b2 r9 b3 b8 r8 b4", "b5 b6", "b7 b2 r7", "r3 b1 b2"])
    assert data.items.tolist() == [1, 2, 3, 4, 5, 6, 2, 1, 2]
    table = draw_negatives(data, 2, np.random.default_rng(0))
    assert table[0].tolist() == [9, 8]
    assert table[1].tolist() == [9, 8]
    assert table[2].tolist() == [9, 8]  # returned between the items 2 and 3, so before item 3 comes
    assert table[3, 0] == 8
    touched = [{1, 2, 3, 4}] * 4 + [{5, 6}] * 2 + [{2}] + [{1, 2}] * 2
    for negatives, own in zip(table.tolist(), touched, strict=True):
        assert not own & set(negatives)
    assert table[6, 0] == 7
    assert table[7].tolist()[0] == 3


def test_a_rejected_item_is_in_no_history_and_no_label() -> None:
    data = data_of(["b1 b9 b2 r9 b3 b4"])
    plan = plan_epoch(data, SETTINGS, 0, 20)
    for question in plan.histories.questions():
        history = data.items[question.start : question.start + question.position].tolist()
        assert 9 not in history
        assert (9 in question.answers) == (question.task.name == "negative" and question.position <= 2)


def test_a_rejected_item_without_codes_is_no_negative() -> None:
    data = data_of(["b1 b9 b2 r9 b3 b8 r8 b4"], without_codes=(9, 2))
    assert data.items.tolist() == [1, 3, 4]
    assert data.rejected.items.tolist() == [8]
    assert draw_negatives(data, 1, np.random.default_rng(0))[:, 0].tolist()[:2] == [8, 8]


def test_labels_have_the_weights_of_their_events() -> None:
    data = data_of(["b1 v2 c3 b4 b5", "v6 b7"])
    plan = plan_epoch(data, replace(SETTINGS, negatives=0), 0, 20).histories
    assert plan.weights is not None
    assert data.weights is not None
    first = plan.start + plan.position[plan.offsets[:-1]]
    np.testing.assert_array_equal(plan.weights[plan.offsets[:-1]], data.weights[first])
    assert sorted(plan.weights.tolist()) == [0.1, 0.3, 1.0, 1.0, 1.0]
