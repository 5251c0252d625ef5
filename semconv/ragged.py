"""Ragged arrays: rows of different lengths in one flat array.

The values of R rows lie one row after the other in one array of n values. ``lengths`` ``(R,)`` holds the number of
values of each row. ``offsets`` ``(R + 1,)`` holds the index where each row begins, so row r is
``values[offsets[r] : offsets[r + 1]]``.
All results are int64.

The last two functions work on sorted keys. Pairs of a row and a number below ``size``, such as each user's
items, are stored as sorted keys ``row * size + number``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]


def lengths_of(rows: Sequence[Collection[Any]] | Sequence[NDArray[Any]]) -> Ints:
    """Return the length of each row of a list of arrays, ``(R,)``."""
    return np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))


def offsets_of(lengths: ArrayLike) -> Ints:
    """Return the index where each row begins, and the end of the last row, ``(R + 1,)``."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def row_of(lengths: NDArray[np.integer]) -> Ints:
    """Return the row of each value, ``(n,)``."""
    return np.repeat(np.arange(len(lengths)), lengths)


def position_of(lengths: NDArray[np.integer]) -> Ints:
    """Return the position of each value within its row, ``(n,)``."""
    return ranges(np.zeros(len(lengths), dtype=np.int64), lengths)


def ranges(starts: NDArray[np.integer], lengths: NDArray[np.integer]) -> Ints:
    """Return the numbers ``start .. start + length - 1`` of each row, one row after the other, ``(n,)``.

    If ``starts`` are the offsets of some rows of a ragged array, the result is the indices of the values of these rows.
    """
    shift = starts - (np.cumsum(lengths, dtype=np.int64) - lengths)
    return np.asarray(np.repeat(shift, lengths) + np.arange(int(lengths.sum())), dtype=np.int64)


def kept_offsets(offsets: NDArray[np.integer], keep: NDArray[np.bool_]) -> Ints:
    """Return the offsets ``(R + 1,)`` of the rows if only the values in the mask ``keep`` ``(n,)`` are kept."""
    kept: Ints = offsets_of(keep)[offsets]
    return kept


def padded(values: NDArray[Any], lengths: NDArray[np.integer], fill: int) -> NDArray[Any]:
    """Return the rows as a rectangular array ``(R, longest)``; shorter rows are padded at their ends."""
    table = np.full((len(lengths), int(lengths.max(initial=0))), fill, dtype=values.dtype)
    table[np.arange(table.shape[1]) < lengths[:, None]] = values
    return table


def position_among_equal(keys: NDArray[Any]) -> Ints:
    """Return the position of each key of a sorted array among the keys equal to it, ``(n,)``."""
    return np.arange(len(keys)) - np.searchsorted(keys, keys)


def find(keys: NDArray[Any], wanted: NDArray[Any]) -> tuple[Ints, NDArray[np.bool_]]:
    """Find each wanted key in a sorted array.

    Args:
        keys: ``(n,)``, ascending.
        wanted: an array of any shape.

    Returns:
        the index of each wanted key in ``keys``, and whether ``keys`` contains it; both have the shape of ``wanted``.
        The index of a missing key has no meaning, but lies within ``keys`` unless ``keys`` is empty.
    """
    if len(keys) == 0:
        return np.zeros(wanted.shape, dtype=np.int64), np.zeros(wanted.shape, dtype=np.bool_)
    index = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return index, keys[index] == wanted


def slices(count: int, size: int) -> list[slice]:
    """Return slices of at most ``size`` rows that cover ``count`` rows, in order."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
