"""The weights of event types in recent popularity, after a blend was saved and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from semconv.data.core import train_part
from semconv.data.store import day_numbers
from semconv.runs.lineage import Lineage
from semconv.stages.blend.files import load_blend
from tests.stages.test_held_out import NUM_USERS, made, viewed_and_bought
from tests.worlds import projects as case


def test_recent_popularity_of_a_blend_has_the_weights_of_event_types(tmp_path: Path) -> None:
    workspace = made(tmp_path, viewed_and_bought()).workspace
    record = workspace.need("blend")
    events = load_blend(workspace, record, Lineage.of(workspace.store, record)).tables.events
    train = train_part(workspace.sequences(), "[:-2]", 1, case.NUM_ITEMS)
    assert train.weights is not None
    assert set(train.weights.tolist()) == {0.1, 1.0}
    assert events is not None
    days = day_numbers(train.times)
    last, width = int(days.max()), NUM_USERS // 2
    expected = np.zeros(case.NUM_ITEMS)
    for item, day, weight in zip(train.items, days, train.weights, strict=True):
        expected[item] += weight if day > last - width else 0.0
    found = events.count(np.arange(case.NUM_ITEMS), np.full(case.NUM_ITEMS, float(last)), width)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert (found % 1 > 0).any()
