"""The tables of counts against their definition in plain Python."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from semconv.counter import counts
from semconv.counter.counts import CounterWeights, count_neighbors, count_transitions
from tests.worlds.sequences import sequences_of

WEIGHTS = CounterWeights(decay=0.6, symmetry=0.7, history_decay=0.75, alpha=0.5)


def drawn(num_items: int = 25) -> list[list[int]]:
    """Forty sequences, some longer than the farthest pair, items that come again and again."""
    rng = np.random.default_rng(0)
    return [
        rng.geometric(0.15, length).clip(max=num_items - 3).tolist()
        for length in [0, 1, 2, 30, *rng.integers(2, 12, 36)]
    ]


def by_hand(histories: list[list[int]], num_items: int, weights: CounterWeights) -> np.ndarray:
    table: dict[tuple[int, int], float] = defaultdict(float)
    for items in histories:
        for early in range(len(items)):
            for late in range(early + 1, min(len(items), early + 21)):
                value = (late - early) ** -weights.decay
                table[items[early], items[late]] += value
                table[items[late], items[early]] += weights.symmetry * value
    result = np.zeros((num_items, num_items))
    for (first, second), value in table.items():
        result[first, second] = value
    return result / (result.sum(axis=1, keepdims=True) + 1) ** weights.alpha


@pytest.mark.parametrize("block", [7, 10**9])
def test_the_matrix_is_the_definition_whatever_the_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_BLOCK_PAIRS", block)
    matrix = count_transitions(sequences_of(drawn()), 25, WEIGHTS, 0)
    np.testing.assert_allclose(matrix.toarray(), by_hand(drawn(), 25, WEIGHTS), rtol=1e-12)
    assert matrix.has_sorted_indices


def test_the_strongest_successors_stay_and_keep_their_weights() -> None:
    whole = count_transitions(sequences_of(drawn()), 25, WEIGHTS, 0).toarray()
    few = count_transitions(sequences_of(drawn()), 25, WEIGHTS, 4).toarray()
    assert ((few > 0).sum(axis=1) == np.minimum((whole > 0).sum(axis=1), 4)).all()
    assert np.array_equal(few[few > 0], whole[few > 0])
    lost = np.where(few > 0, 0, whole)
    kept = np.where(few > 0, few, np.inf)
    assert (lost.max(axis=1) <= kept.min(axis=1)).all()


@pytest.mark.parametrize("decay", [0.0, 0.6])
def test_neighbors_are_counted_in_both_directions_and_never_an_item_with_itself(decay: float) -> None:
    weights = CounterWeights(decay=decay, symmetry=1.0, history_decay=0.0, alpha=0.0)
    expected = by_hand(drawn(), 25, weights)
    np.fill_diagonal(expected, 0.0)
    data = sequences_of(drawn())
    np.testing.assert_allclose(count_neighbors(data.items, data.lengths, 25, decay).toarray(), expected, rtol=1e-12)
    assert not count_neighbors(data.items[:0], data.lengths[:0], 3, decay).toarray().any()


def test_nobody_and_nothing() -> None:
    assert count_transitions(sequences_of([]), 4, WEIGHTS, 5).nnz == 0
    assert count_transitions(sequences_of([[1], []]), 4, WEIGHTS, 5).shape == (4, 4)
    assert count_transitions(sequences_of([]), 0, WEIGHTS, 5).shape == (0, 0)
