"""Candidates for the lists of users, and the sources that proposed each candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.columns import SOURCE_MODEL, SOURCES_ORDER
from semconv.ragged import find, padded, position_among_equal
from semconv.search.search import SearchResult


@dataclass(frozen=True)
class Candidates:
    """Candidates: items that may enter the lists of users, with one row for each pair of user and item.

    Attributes:
        users: ``(n,)`` index of each user among the B users, ascending.
        items: ``(n,)`` item_index; a user has each item once.
        sources: ``(n,)`` one bit for each source that proposed the candidate (``source_bit``).
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    sources: NDArray[np.uint8]

    @classmethod
    def merged(cls, parts: list[Candidates]) -> Candidates:
        """Merge the candidates of several sources, which may propose the same item to a user.

        The items of a user ascend by item_index. A candidate that several sources proposed gets the bits of all of
        these sources.
        """
        columns = zip(_NOTHING, *((part.users, part.items, part.sources) for part in parts), strict=True)
        users, items, bits = (np.concatenate(column) for column in columns)
        order = np.lexsort((items, users))
        users, items, bits = users[order], items[order], bits[order]
        is_first = np.ones(len(users), dtype=bool)
        is_first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
        starts = np.flatnonzero(is_first)
        merged = np.bitwise_or.reduceat(bits, starts) if len(starts) else bits
        return cls(users[starts], items[starts], merged)

    @classmethod
    def by(cls, source: str, users: NDArray[np.int64], items: NDArray[np.int64]) -> Candidates:
        """Return the candidates that one source proposed."""
        return cls(users, items, np.full(len(items), source_bit(source), dtype=np.uint8))

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Candidates:
        """Return the candidates that a mask or an array of row indices chooses."""
        return Candidates(self.users[chosen], self.items[chosen], self.sources[chosen])

    def best(self, scores: NDArray[np.floating], ties: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Return the row indices of the ``count`` best candidates of each user, user by user and best first.

        Args:
            scores: ``(n,)`` scores of the candidates.
            ties: ``(n,)`` order of candidates with equal scores, the lowest number first.
        """
        order = np.lexsort((ties, -scores, self.users))
        return order[position_among_equal(self.users[order]) < count]

    def table(self, num_users: int) -> NDArray[np.int64]:
        """Return the items of each user as rows of a table ``(B, n')``, padded with -1."""
        return padded(self.items, np.bincount(self.users, minlength=num_users), -1)


_NOTHING = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8))


def source_bit(source: str) -> int:
    """Return the bit that stands for a source, one of the values of the column ``sources``."""
    return 1 << SOURCES_ORDER.index(source)


def with_beams(
    proposed: Candidates, shortlist: Candidates, others: NDArray[np.int64], found: SearchResult
) -> tuple[Candidates, NDArray[np.float32]]:
    """Merge the shortlist with the items that the model's search found.

    Args:
        proposed: all proposed candidates. If the search found one that is not on the shortlist, the merged candidate
            also has the bits of the sources that proposed it.
        shortlist: the candidates that the model scored.
        others: ``(B, n')`` items of the shortlist (``Candidates.table``).
        found: the result of the search for all users, with the scores of ``others``.

    Returns:
        the merged candidates, and the model's log probabilities ``(n,)`` by its weights as trained, -inf for an item
        without codes or a user without a prompt.
    """
    users, beams = np.nonzero(found.items >= 0)
    by_model = Candidates.by(SOURCE_MODEL, users, found.items[users, beams].astype(np.int64))
    candidates = Candidates.merged([by_model, shortlist])
    size = int(max(candidates.items.max(initial=0), proposed.items.max(initial=0))) + 1
    keys = candidates.users * size + candidates.items
    row, is_there = find(keys, proposed.users * size + proposed.items)
    candidates.sources[row[is_there]] |= proposed.sources[is_there]
    log_probs = np.full(len(keys), -np.inf, dtype=np.float32)
    other_users, columns = np.nonzero(others >= 0)
    of_others, of_beams = found.other_trained_scores, found.trained_scores
    log_probs[np.searchsorted(keys, other_users * size + others[other_users, columns])] = of_others[
        other_users, columns
    ]
    log_probs[np.searchsorted(keys, users * size + by_model.items)] = of_beams[users, beams]
    return candidates, log_probs
