"""Windows of sequences: each row but a user's first one is predicted exactly once, with enough rows before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semconv.item_head.sequences import Windows
from semconv.ragged import offsets_of


@settings(max_examples=60)
@given(st.lists(st.integers(0, 70), max_size=6), st.integers(1, 20))
def test_every_row_but_the_first_is_predicted_once(lengths: list[int], history: int) -> None:
    offsets = offsets_of(lengths)
    windows = Windows.of(offsets, history)
    predicted = np.zeros(int(offsets[-1]), dtype=int)
    for start, length, first in zip(windows.start, windows.length, windows.first_label, strict=True):
        assert 2 <= length <= history + 1
        assert 1 <= first < length
        user = np.searchsorted(offsets, start, side="right") - 1
        assert start + length <= offsets[user + 1]
        if start > offsets[user]:
            assert first >= history / 2
        predicted[start + first : start + length] += 1
    expected = np.ones(int(offsets[-1]), dtype=int)
    expected[offsets[:-1][np.diff(offsets) > 0]] = 0
    assert predicted.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("length", "history", "expected"), [(1, 20, 0), (2, 20, 1), (21, 20, 1), (22, 20, 2), (31, 20, 2)]
)
def test_the_number_of_windows(length: int, history: int, expected: int) -> None:
    assert len(Windows.of(np.array([0, length]), history)) == expected
