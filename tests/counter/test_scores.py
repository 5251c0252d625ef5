"""Weights of histories, ties by popularity, and entries of sparse tables."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from semconv.counter.scores import entries, history_matrix, popularity_order


def test_a_history_counts_less_the_older_it_is() -> None:
    items, lengths = np.array([3, 1, 3, 2], dtype=np.int32), np.array([3, 0, 1])
    expected = np.zeros((3, 5))
    expected[0, 3], expected[0, 1], expected[2, 2] = 3**-0.5 + 1, 2**-0.5, 1
    np.testing.assert_allclose(history_matrix(items, lengths, 5, 0.5).toarray(), expected)


@given(st.lists(st.integers(0, 4), max_size=12))
def test_items_of_equal_popularity_stay_in_order(counts: list[int]) -> None:
    expected = sorted(range(len(counts)), key=lambda item: (-counts[item], item))
    found = popularity_order(np.array(counts, dtype=np.int64))
    assert [expected.index(item) for item in range(len(counts))] == found.tolist()


def test_entries_of_a_sparse_matrix() -> None:
    table = sp.random_array((40, 30), density=0.2, format="csr", rng=np.random.default_rng(0))
    table.sort_indices()
    rows, columns = (part.ravel() for part in np.meshgrid(np.arange(40), np.arange(30), indexing="ij"))
    np.testing.assert_array_equal(entries(table, rows, columns).reshape(40, 30), table.toarray())
