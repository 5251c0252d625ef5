"""How often each item followed the latest items of a user: a table that the item head adds to its scores.

Vectors of a hundred numbers cannot hold exactly which of many thousand items often follow one another. A table of counts
can. c(i, j) counts how often j follows i in the sequences. A pair at distance d counts d^-0.6, up to a distance of 5, and
the reverse pair counts 0.7 times as much. The score of item j gets the sum over the user's latest items i of

    weight * log(1 + 50 c(i, j) / (c(i) + 100)),

where c(i) is the sum over all j. The constants were chosen on the validation users of two data sets
(benchmarks/results). The model makes one weight for each of the latest items from its hidden state. The weights start at
3 for the latest item and fall by a factor of 0.8 from item to item, so that an untrained model is a good counter. Counts
need no training, so a night takes the counts of all interactions so far.

In training, the counts contain the pairs of the very sequence whose next item is predicted. The pairs with the label and
with the 4 items after it are subtracted, as if these items had not happened yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import Ints, find, ranges, row_of

if TYPE_CHECKING:
    from semconv.counter.counts import PairRows

_REACH: Final = 5
_DECAY: Final = 0.6
_BY_DISTANCE: Final = tuple(distance**-_DECAY for distance in range(1, _REACH + 1))
_SYMMETRY: Final = 0.7
_SCALE, _PSEUDO_COUNT = 50.0, 100.0
_KEPT: Final = 100  # successors of an item
# What the weights of a model were trained for.
CONSTANTS: Final = (float(_REACH), _DECAY, _SYMMETRY, _SCALE, _PSEUDO_COUNT)


@dataclass(frozen=True)
class OwnPairs:
    """Counts that a prediction must not see, because they come from the items that it is asked for.

    Attributes:
        sources: ``(q,)`` index into the flattened ``(n, K)`` latest items.
        items: ``(q,)`` item index of the successor.
        counts: ``(q,)`` the count to subtract.
    """

    sources: Ints
    items: Ints
    counts: NDArray[np.float64]


@dataclass(frozen=True)
class SuccessorNumbers:
    """The numbers of the table for n predictions, z in all, one prediction after the other.

    Attributes:
        lengths: ``(n,)`` number of entries of each prediction.
        kinds: ``(z,)`` 0 for successors of the latest item, 1 for those of the item before it, and so on.
        items: ``(z,)`` item index of the successor.
        values: ``(z,)`` log(1 + 50 c(i, j) / (c(i) + 100)).
    """

    lengths: Ints
    kinds: Ints
    items: Ints
    values: NDArray[np.float32]


@dataclass(frozen=True)
class SuccessorTable:
    """The most frequent successors of each item.

    Attributes:
        starts: ``(I + 1,)`` first entry of each item.
        items: ``(m,)`` item index of each successor, ascending for each item.
        counts: ``(m,)`` c(i, j).
        sums: ``(I,)`` c(i), with the counts of successors that are not kept.
    """

    starts: Ints
    items: NDArray[np.int32]
    counts: NDArray[np.float32]
    sums: NDArray[np.float64]

    @classmethod
    def count(cls, sequences: PairRows, num_items: int) -> SuccessorTable:
        """Count the pairs of sequences, and keep the 100 most frequent successors of each item."""
        # A machine that only trains gets the counts, and may have no scipy.
        import scipy.sparse as sp

        from semconv.counter.counts import joined_rows, largest, pair_blocks

        rows, sums = [], [np.zeros(0)]
        for block in pair_blocks(sequences, num_items, _BY_DISTANCE, _SYMMETRY):
            counts = sp.csr_array(block)
            counts.sum_duplicates()
            sums.append(np.asarray(counts.sum(axis=1)).ravel())
            rows.append(largest(counts, _KEPT))
        table = joined_rows(rows, num_items)
        return cls(
            table.indptr.astype(np.int64),
            table.indices.astype(np.int32),
            table.data.astype(np.float32),
            np.concatenate(sums),
        )

    def numbers(self, latest: Ints, own: OwnPairs | None = None) -> SuccessorNumbers:
        """Return the numbers for the successors of each user's latest items.

        Args:
            latest: ``(n, K)`` item index of the latest item, the item before it, and so on; -1 for none.
            own: counts to subtract.
        """
        sources = latest.ravel()
        known = np.maximum(sources, 0)
        lengths = np.where(sources >= 0, self.starts[known + 1] - self.starts[known], 0)
        entries, source = ranges(self.starts[known], lengths), row_of(lengths)
        items, counts = self.items[entries].astype(np.int64), self.counts[entries].astype(np.float64)
        sums = self.sums[known]
        if own is not None and len(own.items):
            num_items = len(self.sums)
            row, is_there = find(source * num_items + items, own.sources * num_items + own.items)
            np.subtract.at(counts, row[is_there], own.counts[is_there])
            np.subtract.at(sums, own.sources, own.counts)
        shares = np.maximum(counts, 0.0) / (np.maximum(sums, 0.0) + _PSEUDO_COUNT)[source]
        values = np.log1p(_SCALE * shares)
        per_prediction = lengths.reshape(latest.shape).sum(axis=1)
        return SuccessorNumbers(per_prediction, source % latest.shape[1], items, values.astype(np.float32))


def latest_items(items: NDArray[np.integer], starts: Ints, rows: Ints, number: int) -> Ints:
    """Return the items before some rows of sequences, the latest first, ``(n, number)``; -1 before the first row.

    Args:
        items: item index of all rows of all sequences.
        starts: ``(n,)`` first row of the sequence of each row.
        rows: ``(n,)``.
    """
    before = rows[:, None] - 1 - np.arange(number)
    return np.where(before >= starts[:, None], items[np.maximum(before, 0)], -1).astype(np.int64)


def own_pairs(sequences: PairRows, starts: Ints, ends: Ints, rows: Ints, latest: Ints) -> OwnPairs:
    """Return what the label and the rows soon after it add to the counts of the items before the label.

    These are all pairs whose later row is the label or one of the 4 rows after it, so all pairs with the label as well.

    Args:
        sequences: the sequences that were counted.
        starts, ends: ``(n,)`` first row, and row after the last row, of the sequence of each label.
        rows: ``(n,)`` row of each label.
        latest: ``(n, K)`` the items before it, as ``latest_items`` returns them.
    """
    shape = (len(rows), _REACH, _REACH)
    later = np.broadcast_to(rows[:, None, None] + np.arange(_REACH)[None, :, None], shape)
    distance = np.broadcast_to(np.arange(1, _REACH + 1), shape)
    label = np.broadcast_to(np.arange(len(rows))[:, None, None], shape)
    is_pair = (later < ends[:, None, None]) & (later - distance >= starts[:, None, None])
    label, later, distance = label[is_pair], later[is_pair], distance[is_pair]
    earlier = later - distance
    counts = np.array(_BY_DISTANCE)[distance - 1]
    if sequences.weights is not None:
        counts = counts * sequences.weights[earlier] * sequences.weights[later]
    first, second = (sequences.items[part].astype(np.int64) for part in (earlier, later))
    parts = []
    for source, successor, values in ((first, second, counts), (second, first, _SYMMETRY * counts)):
        pair, kind = np.nonzero(source[:, None] == latest[label])
        parts.append((label[pair] * latest.shape[1] + kind, successor[pair], values[pair]))
    sources, items, of_pairs = (np.concatenate(column) for column in zip(*parts, strict=True))
    return OwnPairs(sources, items, of_pairs)
