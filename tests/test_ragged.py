"""Ragged arrays against lists of lists in plain Python."""

from __future__ import annotations

import bisect
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semconv import ragged

ragged_rows = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=8)


def flat(rows: list[list[int]]) -> np.ndarray:
    return np.array([value for row in rows for value in row], dtype=np.int32)


@given(ragged_rows)
def test_rows_and_positions_are_those_of_the_lists(rows):
    lengths = ragged.lengths_of([np.array(row) for row in rows])
    offsets = ragged.offsets_of(lengths)
    values = flat(rows)
    assert lengths.tolist() == [len(row) for row in rows]
    assert [values[start:stop].tolist() for start, stop in itertools.pairwise(offsets)] == rows
    assert ragged.row_of(lengths).tolist() == [index for index, row in enumerate(rows) for _ in row]
    assert ragged.position_of(lengths).tolist() == [position for row in rows for position in range(len(row))]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 4)), max_size=8))
def test_ranges_are_the_ranges_of_python(pairs):
    starts, lengths = (np.array(part, dtype=np.int64) for part in zip(*pairs, strict=True)) if pairs else ([], [])
    found = ragged.ranges(np.array(starts, dtype=np.int64), np.array(lengths, dtype=np.int64))
    assert found.tolist() == [number for start, length in pairs for number in range(start, start + length)]


@given(ragged_rows, st.data())
def test_kept_offsets_are_those_of_the_filtered_lists(rows, data):
    values = flat(rows)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))), dtype=bool)
    offsets = ragged.offsets_of([len(row) for row in rows])
    marks = iter(keep.tolist())
    expected = [[value for value in row if next(marks)] for row in rows]
    kept = ragged.kept_offsets(offsets, keep)
    found = [values[keep][start:stop].tolist() for start, stop in itertools.pairwise(kept)]
    assert found == expected


@given(ragged_rows)
def test_a_padded_table_holds_each_row_and_then_the_fill(rows):
    longest = max(map(len, rows), default=0)
    table = ragged.padded(flat(rows), ragged.lengths_of(rows), -1)
    assert table.shape == (len(rows), longest)
    assert table.tolist() == [row + [-1] * (longest - len(row)) for row in rows]
    assert table.dtype == np.int32


@given(st.lists(st.integers(0, 5), max_size=20))
def test_positions_among_equal_keys_count_each_group_from_zero(keys):
    keys.sort()
    expected = [index - keys.index(key) for index, key in enumerate(keys)]
    assert ragged.position_among_equal(np.array(keys, dtype=np.int64)).tolist() == expected


@given(st.lists(st.integers(0, 30), max_size=20), st.lists(st.integers(-2, 32), min_size=6, max_size=6))
def test_find_agrees_with_bisection(keys, wanted):
    keys.sort()
    index, is_there = ragged.find(np.array(keys, dtype=np.int64), np.array(wanted).reshape(2, 3))
    assert index.shape == is_there.shape == (2, 3)
    assert is_there.ravel().tolist() == [key in keys for key in wanted]
    for key, found in zip(wanted, index.ravel().tolist(), strict=True):
        if key in keys:
            assert found == bisect.bisect_left(keys, key)
        elif keys:
            assert 0 <= found < len(keys)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_all_results_are_64_bit_whatever_the_lengths_are(dtype):
    lengths = np.array([2, 0, 1], dtype=dtype)
    starts = np.array([5, 9, 0], dtype=np.int32)
    results = [ragged.offsets_of(lengths), ragged.row_of(lengths), ragged.position_of(lengths)]
    results += [ragged.ranges(starts, lengths), ragged.offsets_of(np.array([True, False])), ragged.offsets_of([])]
    results += [ragged.position_among_equal(lengths), ragged.find(lengths[:2], lengths)[0], ragged.lengths_of([])]
    assert {result.dtype for result in results} == {np.dtype(np.int64)}
