from __future__ import annotations

import numpy as np

from semconv.lists.fallback import fill_from_ranking


def test_a_ranking_fills_empty_ends_and_leaves_out_seen_and_listed_items():
    items = np.array([[7, 8, -1], [-1, -1, -1], [1, 2, 3], [-1, -1, -1]], dtype=np.int32)
    scores = np.array([[-2.5, -4, -np.inf], [-np.inf] * 3, [-1, -2, -3], [-np.inf] * 3], dtype=np.float32)
    seen = [np.array([5]), np.array([7, 6, 99]), np.array([4]), np.array([5, 7, 6, 8])]
    got, got_scores, filled = fill_from_ranking(items, scores, np.array([5, 7, 6, 8]), seen)
    assert got.tolist() == [[7, 8, 6], [5, 8, -1], [1, 2, 3], [-1, -1, -1]]
    assert got_scores.tolist() == [[-2.5, -4, -5], [-1, -2, -np.inf], [-1, -2, -3], [-np.inf] * 3]
    assert filled.tolist() == [[False, False, True], [True, True, False], [False] * 3, [False] * 3]
    assert items[1, 0] == -1, "the given lists stay as they were"


def test_filling_equals_a_plain_loop(monkeypatch):
    rng = np.random.default_rng(1)
    ranking = rng.permutation(40)
    items = np.full((30, 6), -1, dtype=np.int32)
    for row in range(30):
        items[row, : row % 7] = rng.choice(60, row % 7, replace=False)
    scores = np.where(items >= 0, 0.0, -np.inf).astype(np.float32)
    seen = [rng.choice(60, size, replace=False) for size in rng.integers(0, 45, 30)]
    monkeypatch.setattr("semconv.lists.fallback._BLOCK_ELEMENTS", 200)
    for taken in (seen, None):
        got, _, _ = fill_from_ranking(items, scores, ranking, taken)
        for row in range(30):
            own = [item for item in items[row] if item >= 0]
            barred = set(own) | set(taken[row] if taken else [])
            expected = (own + [item for item in ranking if item not in barred])[:6]
            assert got[row].tolist() == expected + [-1] * (6 - len(expected))


def test_no_ranking_fills_nothing():
    got, scores, filled = fill_from_ranking(
        np.full((2, 2), -1, np.int32), np.full((2, 2), -np.inf, np.float32), np.zeros(0, int), None
    )
    assert (got == -1).all()
    assert np.isneginf(scores).all()
    assert not filled.any()
