"""The smoothed counter, and transitions over two hops: two other readings of how often items follow each other.

c(i, j) counts how often j follows i in the training sequences. A pair at distance d counts decay^(d - 1), up to the
distance ``reach``; the reverse pair counts ``symmetry`` times as much. c(i) is the sum over j, and N is the number of
items that occur in training. ``sql/baselines/transition_smoothed.sql`` and ``transition_two_hops.sql`` use the same rules.

Smoothed: the score of j is the sum over the items h of the history of history_decay^recency * log(1 + lift / scale).
The lift c(h, j) N / (c(h) + pseudo_count) is the share of j among the successors of h, compared with an equal share of
all items. The pseudo-count lowers the lift after rare items, whose few successors are mostly chance.

Two hops: c2(i, j) is the sum over the strongest successors m of i of c(i, m) c(m, j) / (c(i) c(m)). It finds items that
never followed i, but follow the successors of i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from semconv.counter.counts import joined_rows, largest, pair_blocks
from semconv.counter.scores import DECIMALS, geometric_weights, sorted_rows, weighted_histories
from semconv.data.store import Sequences
from semconv.ragged import position_of


@dataclass(frozen=True)
class SmoothedWeights:
    """The parameters of both counters. The settings of the section ``[smoothed]`` explain each of them."""

    decay: float
    reach: int
    symmetry: float
    history_decay: float
    pseudo_count: float
    scale: float
    hop_items: int
    hop_successors: int


@dataclass(frozen=True)
class SmoothedTables:
    """The tables of both counters.

    Attributes:
        lifts: ``(I, I)`` log(1 + lift / scale) of each item after each item.
        hops: ``(I, I)`` c(i, m) / c(i) of the strongest successors m of each item.
        num_known: number N of items that occur in training.
        weights: the parameters.
    """

    lifts: sp.csr_array
    hops: sp.csr_array
    num_known: int
    weights: SmoothedWeights

    def smoothed(self, items: NDArray[np.int32], lengths: NDArray[np.int64]) -> sp.csr_array:
        """Return the smoothed counter's scores ``(B, I)`` after B histories, the columns of a row ascending.

        Args:
            items: ``(m,)`` items of the histories, one history after the other, oldest item first.
            lengths: ``(B,)`` number of items of each history.
        """
        values = geometric_weights(lengths, self.weights.history_decay)
        return sorted_rows(weighted_histories(items, lengths, self.lifts.shape[0], values) @ self.lifts)

    def two_hops(self, items: NDArray[np.int32], lengths: NDArray[np.int64]) -> sp.csr_array:
        """Return log(1 + N c2 / scale) ``(B, I)`` after the latest items of B histories, whose c2 are added.

        Only the latest ``hop_items`` items of a history are used, each with the weight history_decay^recency.
        """
        recency = np.repeat(lengths, lengths) - position_of(lengths) - 1
        near = recency < self.weights.hop_items
        values = geometric_weights(lengths, self.weights.history_decay)[near]
        shown = np.minimum(lengths, self.weights.hop_items)
        found = weighted_histories(items[near], shown, self.hops.shape[0], values) @ self.hops @ self.hops
        result = sorted_rows(found)
        result.data = np.log1p(result.data * (self.num_known / self.weights.scale))
        return result


def count_smoothed(sequences: Sequences, num_items: int, weights: SmoothedWeights, neighbors: int) -> SmoothedTables:
    """Count transitions once, and return the tables of both counters.

    Args:
        sequences: the train cut.
        num_items: I.
        weights: the parameters.
        neighbors: number of entries to keep in each row of ``lifts``, those with the largest values; 0 keeps all.
    """
    by_distance = [weights.decay ** (distance - 1) for distance in range(1, weights.reach + 1)]
    num_known = len(np.unique(sequences.items))
    lifts, hops = [], []
    for block in pair_blocks(sequences, num_items, by_distance, weights.symmetry):
        counts = sp.csr_array(block)
        counts.sum_duplicates()
        counts.data = counts.data.round(DECIMALS)  # SQL rounds to as many, so that both keep the same successors
        counts.eliminate_zeros()
        sums = np.asarray(counts.sum(axis=1)).ravel()
        per_entry = np.diff(counts.indptr)
        lift = counts.data * np.repeat(num_known / (sums + weights.pseudo_count), per_entry)
        lifts.append(largest(_with(counts, np.log1p(lift / weights.scale)), neighbors))
        hops.append(_shares(largest(counts, weights.hop_successors), sums))
    return SmoothedTables(joined_rows(lifts, num_items), joined_rows(hops, num_items), num_known, weights)


def _shares(counts: sp.csr_array, sums: NDArray[np.float64]) -> sp.csr_array:
    """Divide each row of ``counts`` by the sum of all successors of its item."""
    return _with(counts, counts.data / np.repeat(sums, np.diff(counts.indptr)))


def _with(counts: sp.csr_array, values: NDArray[np.float64]) -> sp.csr_array:
    return sp.csr_array((values, counts.indices, counts.indptr), shape=counts.shape)
