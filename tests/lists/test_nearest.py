from __future__ import annotations

import numpy as np

from semconv.blend.tables import unit_vectors
from semconv.lists.nearest import nearest_in_history


def test_a_reason_is_the_nearest_item_of_the_history():
    vectors = unit_vectors(np.arange(5), np.array([[1, 0], [0, 5], [3, 3], [-1, 0], [0, -2]]), 7)
    histories = [np.array([0, 1]), np.array([3, 4, 1]), np.array([5, 6]), np.zeros(0, int), np.array([2, 0])]
    items = np.array([[2, 1], [0, 2], [0, 1], [0, 1], [2, -1]])
    # cosines: 2 to 0 equals 2 to 1, the latest wins; 0 to {3: -1, 4: 0, 1: 0}; 5 and 6 have no vector;
    # no history; item 2 is no reason for itself
    assert nearest_in_history(histories, items, vectors).tolist() == [[1, 0], [1, 1], [-1, -1], [-1, -1], [0, -1]]
    assert (nearest_in_history(histories, np.array([[6]] * 5), vectors) == -1).all()


def test_reasons_do_not_depend_on_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = unit_vectors(np.arange(50), rng.normal(size=(50, 4)), 50)
    histories = [rng.integers(0, 50, size) for size in rng.integers(0, 12, 40)]
    items = rng.integers(-1, 50, (40, 6))
    whole = nearest_in_history(histories, items, vectors)
    monkeypatch.setattr("semconv.lists.nearest._BLOCK_ELEMENTS", 100)
    np.testing.assert_array_equal(nearest_in_history(histories, items, vectors), whole)
