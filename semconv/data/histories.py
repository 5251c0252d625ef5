"""Histories of all users under a split, as three flat arrays that are cheap to send to other processes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semconv.columns import Split
from semconv.data.interactions import HeldOut, before, masking_events, remaining, returned
from semconv.data.splits import history_ends, history_lengths, history_mask, target_rows
from semconv.data.store import DAY, UNKNOWN_TIME, Sequences, newest_time, without_future
from semconv.ragged import kept_offsets, offsets_of, ranges


@dataclass(frozen=True)
class SeenRows:
    """The items that each user's list leaves out if seen items are masked, one user after the other; an item may repeat.

    Attributes:
        offsets: ``(U + 1,)``.
        items: ``(s,)`` item_index.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]


@dataclass(frozen=True)
class Histories:
    """The history of every user, oldest item first; row u is ``user_index`` u.

    Attributes:
        starts: ``(U,)`` index of each user's first item in ``items``.
        lengths: ``(U,)`` number of items of each history, -1 for a user who is not part of the split.
        items: ``(n,)`` item_index of all users, one user after the other; includes held-out items.
        times: ``(n,)`` time of each of ``items`` in microseconds since 1970, UNKNOWN_TIME where unknown or in the future
            (``without_future``).
        seen: the items that lists leave out if seen items are masked; None: exactly the items of the history.
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    items: NDArray[np.int32]
    times: NDArray[np.int64]
    seen: SeenRows | None = None

    @classmethod
    def under(cls, sequences: Sequences, split: Split, seen_days: float = 0.0) -> Histories:
        """Return each user's history under a split; without rules for events, the items are not copied.

        Args:
            seen_days: number of days for which an item stays seen; 0 for ever.
        """
        lengths, times = history_lengths(sequences, split), without_future(sequences.times)
        if sequences.rules is None:
            found = cls(sequences.offsets[:-1], lengths, sequences.items, times)
        else:
            mask = history_mask(sequences, split)
            starts = kept_offsets(sequences.offsets, mask)[:-1]
            found = cls(starts, lengths, sequences.items[mask], times[mask])
        if not seen_days and (sequences.rules is None or sequences.rules.masks_history):
            return found
        seen = _seen_mask(sequences, split, found.latest_times(), seen_days)
        return replace(found, seen=SeenRows(kept_offsets(sequences.offsets, seen), sequences.items[seen]))

    def of(self, user: int) -> NDArray[np.int32]:
        """Return the items of one user's history, oldest first."""
        start = self.starts[user]
        return self.items[start : start + max(int(self.lengths[user]), 0)]

    def times_of(self, user: int) -> NDArray[np.int64]:
        """Return the times of one user's history, in the same order as ``of``."""
        start = self.starts[user]
        return self.times[start : start + max(int(self.lengths[user]), 0)]

    def seen_of(self, user: int) -> NDArray[np.int32]:
        """Return the items that one user's list leaves out if seen items are masked."""
        if self.seen is None:
            return self.of(user)
        return self.seen.items[self.seen.offsets[user] : self.seen.offsets[user + 1]]

    def masked_items(self, users: NDArray[np.integer], *, is_masked: bool) -> list[NDArray[np.int32]] | None:
        """Return the items that the list of each of r users leaves out, or None if seen items are kept."""
        return [self.seen_of(int(user)) for user in users] if is_masked else None

    def flat_seen(self, users: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the seen items of r users as one array ``(m,)``, and their number for each user ``(r,)``."""
        if self.seen is None:
            return self.flat(users)
        lengths = np.diff(self.seen.offsets)[users]
        return self.seen.items[ranges(self.seen.offsets[:-1][users], lengths)], lengths

    def flat(self, users: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the histories of r users as one array ``(m,)``, and the length of each history ``(r,)``."""
        lengths = np.maximum(self.lengths[users], 0)
        return self.items[ranges(self.starts[users], lengths)], lengths

    def flat_times(self, users: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the times of the items that ``flat`` returns, ``(m,)``."""
        return self.times[ranges(self.starts[users], np.maximum(self.lengths[users], 0))]

    def latest(self, users: NDArray[np.int32], length: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the same as ``flat``, but with at most the latest ``length`` items of each user."""
        lengths = np.maximum(self.lengths[users], 0)
        shown = np.minimum(lengths, length)
        return self.items[ranges(self.starts[users] + lengths - shown, shown)], shown

    def of_users(self, users: NDArray[np.integer]) -> Histories:
        """Return the histories and seen items of r users alone; row i is ``users[i]``."""
        items, lengths = self.flat(users)
        seen = None
        if self.seen is not None:
            seen_items, seen_lengths = self.flat_seen(users)
            seen = SeenRows(offsets_of(seen_lengths), seen_items)
        return Histories(offsets_of(lengths)[:-1], lengths, items, self.flat_times(users), seen)

    def latest_times(self) -> NDArray[np.int64]:
        """Return the time of each user's latest item ``(U,)``, UNKNOWN_TIME for a user without items."""
        has = self.lengths > 0
        result = np.full(len(self.lengths), UNKNOWN_TIME)
        result[has] = self.times[self.starts[has] + self.lengths[has] - 1]
        return result


def _seen_mask(
    sequences: Sequences, split: Split, latest_times: NDArray[np.int64], seen_days: float
) -> NDArray[np.bool_]:
    """Return which events mask their items in the lists of a split, ``(n,)``.

    An item is seen for ``seen_days`` days before the night of the list. For serving, this is the time of the newest event
    of all users (``newest_time``). For a split in time it is the cut, and otherwise the time of the user's latest interaction.

    Args:
        latest_times: ``(U,)`` time of the latest interaction of each history.
    """
    known = before(sequences, np.maximum(history_ends(sequences, split), 0))
    if sequences.rules is not None:
        known &= ~HeldOut(target_rows(sequences, split)).on_same_item(sequences)
    left = remaining(sequences, known)
    seen = (left | returned(sequences, known, left)) & masking_events(sequences)
    if not seen_days:
        return seen
    if split == "serve":
        night = np.full(len(sequences), newest_time(sequences.times))
    elif sequences.cuts is not None:
        night = np.full(len(sequences), sequences.cuts.test if split == "test" else sequences.cuts.valid)
    else:
        night = latest_times
    first = np.repeat(night.astype(np.float64) - seen_days * DAY, sequences.lengths)
    return np.asarray(seen & ((sequences.times == UNKNOWN_TIME) | (sequences.times >= first)))


def prompt_items(items: NDArray[np.int32], has_codes: NDArray[np.bool_], length: int) -> NDArray[np.int32]:
    """Return the items of a history that the prompt contains: the latest ``length`` items that have codes.

    Args:
        has_codes: ``(I,)`` whether an item has codes, by item_index.
    """
    return items[has_codes[items]][-length:]
