"""Numbers that are added to few of a batch's scores, and the best of the scores.

A batch scores all items for many users, in blocks of items. Only a few hundred items follow a user's latest items, so
their part of the scores is kept apart: sums over all items are corrected at these items and not computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.ragged import Ints, find

_BLOCK: Final = 64  # columns that are compared by their maximum first
_SMALLEST_SHARE: Final = 1e-9


@dataclass(frozen=True)
class Entries:
    """Some of the scores ``(B, M)`` of a batch, sorted by column and then by user.

    Attributes:
        keys: ``(z,)`` column * B + user, ascending.
        num_users: B.
    """

    keys: Ints
    num_users: int

    @property
    def users(self) -> Ints:
        """``(z,)`` row of the batch."""
        return self.keys % self.num_users

    def within(self, start: int, end: int) -> tuple[slice, Ints]:
        """Return the entries of the columns from ``start`` to ``end``, and where each lies in the flattened block."""
        low, high = np.searchsorted(self.keys, [start * self.num_users, end * self.num_users]).tolist()
        columns, users = np.divmod(self.keys[low:high], self.num_users)
        return slice(low, high), users * (end - start) + columns - start


@dataclass(frozen=True)
class Added(Entries):
    """Numbers that are added to some of the scores of a batch.

    Attributes:
        values: ``(z,)`` the numbers.
    """

    values: NDArray[np.float64]

    @classmethod
    def of(cls, keys: Ints, values: NDArray[np.floating], num_users: int) -> Added:
        """Add up the numbers ``(y,)`` of equal keys."""
        keys, entry = np.unique(keys, return_inverse=True)
        return cls(keys, num_users, np.bincount(entry, values, len(keys)).astype(np.float64))

    def at(self, columns: Ints) -> NDArray[np.float64]:
        """Return the numbers at some columns of each user, both ``(B, n)``; 0 where there are none."""
        wanted = columns * self.num_users + np.arange(self.num_users)[:, None]
        row, is_there = find(self.keys, wanted)
        found = np.zeros(wanted.shape)
        found[is_there] = self.values[row[is_there]]
        return found

    def log_sums(
        self, log_sums: NDArray[np.float64], scores: NDArray[np.float64], factor: float
    ) -> NDArray[np.float64]:
        """Return the log sum exp ``(B,)`` of each user's scores with the numbers times a factor added.

        Args:
            log_sums: ``(B,)`` log sum exp of the scores without the numbers.
            scores: ``(z,)`` the scores without the numbers at the entries.
        """
        users = self.users
        share = np.exp(scores - log_sums[users])  # of the sum of the exponentials
        change = np.bincount(users, share * np.expm1(factor * self.values), self.num_users)
        return np.asarray(log_sums + np.log(np.maximum(1.0 + change, _SMALLEST_SHARE)))


def best_columns(scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return the largest scores of each row and their columns, both ``(B, width)``, best first.

    Blocks of columns are compared first: the best scores lie in the blocks with the largest maxima. Finding the maximum of
    each block is many times as fast as ``topk`` over a large catalogue.

    Args:
        scores: ``(B, M)``, with M of at least ``width``.
    """
    users, columns = scores.shape
    blocks = columns // _BLOCK
    if blocks <= width:
        best, column = scores.topk(width, dim=1)
        return best, column
    whole = blocks * _BLOCK
    highest = scores[:, :whole].view(users, blocks, _BLOCK).amax(dim=2)  # (B, blocks)
    first = highest.topk(width, dim=1).indices * _BLOCK  # (B, width) first column of each chosen block
    inside = (first[:, :, None] + torch.arange(_BLOCK, device=scores.device)).flatten(1)
    rest = torch.arange(whole, columns, device=scores.device).expand(users, -1)
    chosen = torch.cat([inside, rest], dim=1)  # (B, width * _BLOCK + rest)
    best, at = scores.gather(1, chosen).topk(width, dim=1)
    return best, chosen.gather(1, at)
