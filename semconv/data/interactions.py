"""The interactions of events: undo returns, and make one interaction of a user's repeated events on one item.

The warehouse stores every event. Which of them are interactions is worked out here, for every reader: the splits, and
through them the SQL baselines. The result depends only on the events before the cut of a split, so a night at the cut
would have seen the same interactions. The interactions are always some of the events, in the same order. So all
functions return a mask of the events, ``(n,)``.

A purchase is an event with the highest weight among all events. A return is an event with a negative weight. It undoes
the latest purchase of its item by the same user before it. An item with a return and no remaining purchase is returned:
none of the user's events on it is an interaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.data.store import Sequences
from semconv.ragged import Ints, find, position_of, row_of

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class HeldOut:
    """The held-out event of each user: ``rows`` ``(U,)`` are rows of the events, -1 for a user without one."""

    rows: Ints

    def on_same_item(self, sequences: Sequences) -> Bools:
        """Return which events are on their user's held-out item and say less than the held-out event, ``(n,)``.

        These are weaker events, and events that may not be held out. If repeats collapse, no other event on the item is
        an interaction before the held-out one. If repeats are kept, an equal event before it is a repeat and stays.
        """
        has = self.rows >= 0
        item = np.where(has, sequences.items[np.where(has, self.rows, 0)], -1) if len(sequences.items) else self.rows
        found = sequences.items == np.repeat(item, sequences.lengths)
        if _collapses(sequences):
            return np.asarray(found, dtype=bool)
        weights = event_weights(sequences)
        least = np.where(has, weights[np.where(has, self.rows, 0)], 0.0) if len(weights) else self.rows
        is_less = (weights < np.repeat(least, sequences.lengths)) | ~target_events(sequences)
        return np.asarray(found & is_less)


def has_repeats(sequences: Sequences) -> bool:
    """Return whether a user has two events on one item."""
    return len(np.unique(_pairs(sequences))) < len(sequences.items)


def event_weights(sequences: Sequences) -> NDArray[np.float64]:
    """Return the weight of each event, ``(n,)``."""
    return np.ones(len(sequences.items)) if sequences.weights is None else sequences.weights


def target_events(sequences: Sequences) -> Bools:
    """Return whether each event may be held out, ``(n,)``."""
    if sequences.rules is None or sequences.types is None:
        return np.ones(len(sequences.items), dtype=bool)
    return sequences.rules.are_targets(sequences.types, sequences.type_names)


def masking_events(sequences: Sequences) -> Bools:
    """Return whether each event masks its item, ``(n,)``."""
    if sequences.rules is None or sequences.types is None:
        return np.ones(len(sequences.items), dtype=bool)
    return sequences.rules.are_masking(sequences.types, sequences.type_names)


def before(sequences: Sequences, ends: Ints | None) -> Bools:
    """Return which events are among the first ``ends`` ``(U,)`` of their user, ``(n,)``; None for all events."""
    lengths = sequences.lengths
    return (
        np.ones(len(sequences.items), dtype=bool) if ends is None else position_of(lengths) < np.repeat(ends, lengths)
    )


def interaction_mask(sequences: Sequences, ends: Ints | None = None, held_out: Sequence[HeldOut] = ()) -> Bools:
    """Return which events are interactions, ``(n,)``, as they are known before a cut.

    Args:
        ends: ``(U,)`` number of events of each user before the cut; None for all events.
        held_out: events that must leave no trace; weaker events on their items are no interactions.
    """
    keep = before(sequences, ends)
    if sequences.rules is None:
        return keep
    keep = remaining(sequences, keep)
    for held in held_out:
        keep &= ~held.on_same_item(sequences)
    return strongest(sequences, keep) if _collapses(sequences) else keep


def target_mask(sequences: Sequences) -> Bools:
    """Return which events may be held out, ``(n,)``: no returned item, and with collapsed repeats one event an item."""
    keep = target_events(sequences)
    if sequences.rules is None:
        return keep
    keep &= remaining(sequences, before(sequences, None))
    return strongest(sequences, keep) if _collapses(sequences) else keep


def remaining(sequences: Sequences, known: Bools) -> Bools:
    """Return which of the events ``known`` ``(n,)`` are left after returns, without returns and events of weight 0."""
    if sequences.weights is None:
        return known
    kept = known & (sequences.weights > 0)
    returns = known & (sequences.weights < 0)
    if not returns.any():
        return kept
    keys = _pairs(sequences)
    of_returned = np.flatnonzero(known & find(np.unique(keys[returns]), keys)[1])
    rows = of_returned[np.argsort(keys[of_returned], kind="stable")]  # pair after pair, in the order of the events
    kept[rows] &= _left_after_returns(keys[rows], sequences.weights[rows], float(sequences.weights.max()))
    return kept


def returned(sequences: Sequences, known: Bools, kept: Bools) -> Bools:
    """Return the last return of each user and item without a remaining interaction, ``(n,)``: what the user rejects.

    Args:
        known: ``(n,)`` the events before the cut.
        kept: ``(n,)`` the interactions among them.
    """
    result = np.zeros(len(known), dtype=bool)
    if sequences.weights is None:
        return result
    rows = np.flatnonzero(known & (sequences.weights < 0))[::-1]
    if len(rows):
        keys = _pairs(sequences)
        latest = rows[np.unique(keys[rows], return_index=True)[1]]
        result[latest[~find(np.unique(keys[kept]), keys[latest])[1]]] = True
    return result


def strongest(sequences: Sequences, keep: Bools) -> Bools:
    """Return one event of each user and item among ``keep`` ``(n,)``: of the highest weight, and of these the first."""
    rows = np.flatnonzero(keep)
    keys = _pairs(sequences)[rows]
    if sequences.weights is None:
        order = np.argsort(keys, kind="stable")
    else:
        order = np.lexsort((-sequences.weights[rows], keys))
    is_first = np.ones(len(rows), dtype=bool)
    is_first[1:] = keys[order][1:] != keys[order][:-1]
    result = np.zeros(len(keep), dtype=bool)
    result[rows[order[is_first]]] = True
    return result


def _collapses(sequences: Sequences) -> bool:
    return sequences.rules is not None and sequences.rules.collapses


def _pairs(sequences: Sequences) -> Ints:
    """Return a key of the user and the item of each event, ``(n,)``."""
    size = int(sequences.items.max(initial=0)) + 1
    return row_of(sequences.lengths) * size + sequences.items


def _left_after_returns(keys: Ints, weights: NDArray[np.float64], highest: float) -> Bools:
    """Return which events are left, for events sorted by user and item and then by order, ``(m,)``.

    The number of purchases that are left rises by 1 with each purchase, and falls by 1 with each return, but not below 0.
    A purchase is left if the number never falls below its value right after the purchase.
    """
    is_purchase = weights == highest
    steps = is_purchase.astype(np.int64) - (weights < 0)
    is_start = np.ones(len(keys), dtype=bool)
    is_start[1:] = keys[1:] != keys[:-1]
    group = np.cumsum(is_start) - 1
    sums = np.cumsum(steps)
    sums -= np.repeat((sums - steps)[is_start], np.diff(np.append(np.flatnonzero(is_start), len(keys))))
    apart = (
        2 * (int(np.abs(sums).max(initial=0)) + 1) * group
    )  # so that minima do not reach from one group into the next
    left = sums - np.minimum(np.minimum.accumulate(sums - apart) + apart, 0)
    lowest_later = np.minimum.accumulate((left + apart)[::-1])[::-1] - apart
    is_left = is_purchase & (lowest_later >= left)
    has_any = np.bincount(group, is_left) > 0
    return np.asarray(np.where(is_purchase, is_left, weights > 0) & has_any[group])
