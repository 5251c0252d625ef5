"""The smoothed counter and two hops over arrays, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semconv.counter import counts
from semconv.counter.smoothed import SmoothedWeights, count_smoothed
from tests.worlds.sequences import sequences_of

WEIGHTS = SmoothedWeights(0.5, 2, 0.0, 0.5, 1.0, 2.0, 1, 10)
NONE = np.zeros(0, dtype=np.int32)


def test_a_chain_by_hand() -> None:
    """0 1 2 twice and 1 3 once: 1 follows 0 at distance one, 2 follows 0 at distance two."""
    tables = count_smoothed(sequences_of([[0, 1, 2], [0, 1, 2], [1, 3]]), 5, WEIGHTS, 0)
    assert tables.num_known == 4
    lifts = tables.lifts.toarray()
    assert lifts[0, 1] == pytest.approx(np.log(1 + 2.0 * 4 / (3 + 1) / 2))  # counts after 0: 2 and 2 * 0.5
    assert lifts[0, 2] == pytest.approx(np.log(1 + 1.0 * 4 / (3 + 1) / 2))
    assert lifts[1, 3] == pytest.approx(np.log(1 + 1.0 * 4 / (3 + 1) / 2))
    assert np.count_nonzero(lifts) == 4
    items, lengths = np.array([0, 1, 0], dtype=np.int32), np.array([2, 0, 1])
    scores = tables.smoothed(items, lengths).toarray()
    np.testing.assert_allclose(scores[0], lifts[1] + 0.5 * lifts[0])
    np.testing.assert_allclose(scores[2], lifts[0])
    assert not scores[1].any()
    two = tables.two_hops(items, lengths).toarray()
    share = np.array([2, 1]) / 3  # of the successors 1 and 2 of 0; 2 leads nowhere
    np.testing.assert_allclose(two[2], np.log1p(4 / 2 * share[0] * np.array([0, 0, 2 / 3, 1 / 3, 0])))
    assert not two[0].any(), "the latest item 1 leads to 2 and 3, which lead nowhere"
    both = count_smoothed(sequences_of([[0, 1, 2], [0, 1, 2], [1, 3]]), 5, replace(WEIGHTS, hop_items=2), 0)
    np.testing.assert_allclose(np.expm1(both.two_hops(items, lengths).toarray()[0]), 0.5 * np.expm1(two[2]))


def test_only_the_strongest_successors_are_kept_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    data = sequences_of([rng.integers(0, 20, rng.integers(0, 12)).tolist() for _ in range(60)])
    weights = replace(WEIGHTS, reach=5, symmetry=0.7, hop_successors=3)
    every, some = count_smoothed(data, 20, weights, 0), count_smoothed(data, 20, weights, 4)
    assert np.diff(some.lifts.indptr).max() == 4
    assert np.diff(some.hops.indptr).max() == 3
    for row in range(20):
        kept, whole = some.lifts.toarray()[row], every.lifts.toarray()[row]
        assert kept[kept > 0].min() >= whole[kept == 0].max()
    monkeypatch.setattr(counts, "_BLOCK_PAIRS", 50)
    parts = count_smoothed(data, 20, weights, 0)
    for name in ("lifts", "hops"):
        np.testing.assert_allclose(getattr(parts, name).toarray(), getattr(every, name).toarray())


def test_nothing() -> None:
    tables = count_smoothed(sequences_of([[]]), 3, WEIGHTS, 5)
    assert tables.num_known == 0
    assert tables.smoothed(np.array([1], dtype=np.int32), np.array([1])).nnz == 0
    assert tables.two_hops(NONE, np.zeros(0, dtype=np.int64)).shape == (0, 3)
