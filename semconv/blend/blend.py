"""The blend: candidates of several parts, exact model scores of all of them, one weighted sum.

Parts propose items (``blend_features``); a first sum without the model shortens what they propose; the model reads a
user's prompt once, for its own search and for the scores of the shortlist; a second sum with the model's log
probability ranks beams and shortlist together. Weights come from ``blend_fit``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semconv.blend.features import BlockScores, feature_names
from semconv.blend.tables import BlendTables, BlendUsers
from semconv.blend.weights import LogitWeights
from semconv.columns import SOURCE_MODEL, SOURCES_ORDER
from semconv.ragged import find, padded, position_among_equal

MODEL_FEATURES = ("model", "has no code")
# Numbers of one block of users by items.
_BLOCK_ELEMENTS = 1 << 23
_BLOCK_USERS = 512

# Others (B, n) -> the beams' items (B, W), their log probabilities, and those of the others.
SearchAndScore = Callable[[NDArray[np.int64]], tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]]


@dataclass(frozen=True)
class Candidates:
    """Items that may come into users' lists, one row a user and item.

    Attributes:
        users: ``(n,)`` rows of the users, ascending.
        items: ``(n,)`` item_index, distinct for each user and ascending.
        sources: ``(n,)`` bits of who proposed each (``source_bit``).
    """

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    sources: NDArray[np.uint8]

    @classmethod
    def joined(cls, parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]]) -> Candidates:
        """Users, items and bits of several proposers; whoever is proposed by two has both bits."""
        users, items, bits = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((items, users))
        users, items, bits = users[order], items[order], bits[order]
        first = np.ones(len(users), dtype=bool)
        first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
        starts = np.flatnonzero(first)
        merged = np.bitwise_or.reduceat(bits, starts) if len(starts) else bits
        return cls(users[starts], items[starts], merged)

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Candidates:
        """Some of them, in order."""
        return Candidates(self.users[chosen], self.items[chosen], self.sources[chosen])

    def table(self, num_users: int) -> NDArray[np.int64]:
        """``(B, n')`` items of each user, -1 behind."""
        return padded(self.items, np.bincount(self.users, minlength=num_users), -1)


def source_bit(source: str) -> int:
    """The bit of a value of the column ``sources``."""
    return 1 << SOURCES_ORDER.index(source)


@dataclass(frozen=True)
class Blend:
    """Everything but the users.

    Attributes:
        tables: what features come from.
        first: weights of the features without the model's: which proposals the model scores.
        weights: weights of the model's features and of all others: the score.
        proposals: items that the counter, and each table of vectors, propose a user.
        shortlist: of these a user, at most, that the model scores.
    """

    tables: BlendTables
    first: LogitWeights
    weights: LogitWeights
    proposals: int
    shortlist: int

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Of ``weights``."""
        return (*MODEL_FEATURES, *feature_names(self.tables))

    def blocks(self, users: BlendUsers) -> Iterator[tuple[int, int, BlockScores]]:
        """Users in blocks: first row, end, scores."""
        size = int(np.clip(_BLOCK_ELEMENTS // max(self.tables.num_items, 1), 1, _BLOCK_USERS))
        for start in range(0, len(users), size):
            stop = min(start + size, len(users))
            yield start, stop, BlockScores(self.tables, users.part(start, stop))

    def proposed(self, users: BlendUsers, allowed: NDArray[np.bool_]) -> tuple[Candidates, NDArray[np.float32]]:
        """What the parts propose to users, and features ``(n, F)`` of it; ``allowed`` ``(I,)`` may be listed."""
        found: list[Candidates] = []
        features: list[NDArray[np.float32]] = []
        for start, _, scores in self.blocks(users):
            parts = scores.proposals(self.proposals, allowed)
            bits = [
                (rows, items, np.full(len(items), source_bit(source), dtype=np.uint8))
                for source, (rows, items) in parts.items()
            ]
            mine = Candidates.joined([_NOTHING, *bits])
            features.append(scores.features(mine.users, mine.items))
            found.append(replace(mine, users=mine.users + start))
        return _stacked(found), np.concatenate([np.zeros((0, len(feature_names(self.tables))), np.float32), *features])

    def shortlisted(self, users: BlendUsers, allowed: NDArray[np.bool_]) -> tuple[Candidates, Candidates]:
        """What the parts propose, and the part of it that the model is to score."""
        proposed, features = self.proposed(users, allowed)
        return proposed, proposed.rows(
            best_rows(proposed, self.first.scores(features), self.ties(proposed), self.shortlist)
        )

    def features(
        self, users: BlendUsers, candidates: Candidates, log_probs: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """``(n, F)`` of ``feature_names``; the log probability of an item that the model cannot name is unknown.

        Args:
            log_probs: ``(n,)``, -inf for an item without codes or a user without a prompt.
        """
        result = np.empty((len(candidates.users), len(self.feature_names)), dtype=np.float32)
        has_no_code = np.isneginf(log_probs)
        result[:, 0] = np.where(has_no_code, np.nan, log_probs)
        result[:, 1] = has_no_code
        for start, stop, scores in self.blocks(users):
            low, high = np.searchsorted(candidates.users, [start, stop])
            result[low:high, len(MODEL_FEATURES) :] = scores.features(
                candidates.users[low:high] - start, candidates.items[low:high]
            )
        return result

    def ranked(
        self, candidates: Candidates, scores: NDArray[np.float64], num_users: int, top_k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]:
        """The best K of each user: items ``(B, K)``, -1 behind, scores, -inf there, and bits of sources."""
        rows = best_rows(candidates, scores, self.ties(candidates), top_k)
        best = candidates.rows(rows)
        place = position_among_equal(best.users)
        items = np.full((num_users, top_k), -1, dtype=np.int32)
        values = np.full((num_users, top_k), -np.inf, dtype=np.float32)
        sources = np.zeros((num_users, top_k), dtype=np.uint8)
        items[best.users, place], values[best.users, place] = best.items, scores[rows]
        sources[best.users, place] = best.sources
        return items, values, sources

    def ties(self, candidates: Candidates) -> NDArray[np.int64]:
        """What decides between equal scores: popularity, items that the tables do not know last."""
        rank = np.append(self.tables.popularity_rank, self.tables.num_items)
        return rank[np.minimum(candidates.items, self.tables.num_items)]


_NOTHING = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8))


def with_model(
    proposed: Candidates, shortlist: Candidates, num_users: int, search_and_score: SearchAndScore
) -> tuple[Candidates, NDArray[np.float32], tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Beams and shortlist together with the model's log probabilities.

    Args:
        search_and_score: of all the users.

    Returns:
        candidates, log probabilities ``(n,)``, and the beams' items and log probabilities ``(B, W)``.
    """
    others = shortlist.table(num_users)
    beams, beam_scores, other_scores = search_and_score(others)
    users, places = np.nonzero(beams >= 0)
    found = users, beams[users, places].astype(np.int64), np.full(len(users), source_bit(SOURCE_MODEL), dtype=np.uint8)
    candidates = Candidates.joined([found, (shortlist.users, shortlist.items, shortlist.sources)])
    size = int(max(candidates.items.max(initial=0), proposed.items.max(initial=0))) + 1
    keys = candidates.users * size + candidates.items
    place, is_there = find(keys, proposed.users * size + proposed.items)
    # A beam's item that the shortlist lost was proposed all the same.
    candidates.sources[place[is_there]] |= proposed.sources[is_there]
    log_probs = np.full(len(keys), -np.inf, dtype=np.float32)
    rows, columns = np.nonzero(others >= 0)
    log_probs[np.searchsorted(keys, rows * size + others[rows, columns])] = other_scores[rows, columns]
    log_probs[np.searchsorted(keys, users * size + beams[users, places])] = beam_scores[users, places]
    return candidates, log_probs, (beams, beam_scores)


def best_rows(
    candidates: Candidates, scores: NDArray[np.floating], ties: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Rows of the ``count`` best candidates of each user, by user and then best first."""
    order = np.lexsort((ties, -scores, candidates.users))
    return order[position_among_equal(candidates.users[order]) < count]


def _stacked(parts: list[Candidates]) -> Candidates:
    columns = zip(_NOTHING, *((part.users, part.items, part.sources) for part in parts), strict=True)
    return Candidates(*(np.concatenate(column) for column in columns))
