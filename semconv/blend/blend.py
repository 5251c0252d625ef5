"""The blend: the transition counter and behaviour vectors propose items, and one weighted sum ranks all candidates.

A first weighted sum, of features that need no model, picks a shortlist of the proposed items. The model then reads a
user's prompt once: it finds items by beam search, and scores the items of the shortlist. A second weighted sum includes
the model's log probabilities. The second sum ranks the found items and the shortlist together. The module ``fit`` fits
the weights of both sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semconv.blend.candidates import Candidates
from semconv.blend.features import BlockScores, feature_names
from semconv.blend.tables import BlendTables, BlendUsers
from semconv.blend.weights import LogitWeights
from semconv.ragged import position_among_equal

MODEL_FEATURES = ("model", "has no code")
# Number of elements of the table (users, items) for one block of users.
_BLOCK_ELEMENTS = 1 << 23
_BLOCK_USERS = 512


@dataclass(frozen=True)
class Blend:
    """A fitted blend.

    Attributes:
        tables: the arrays from which features are computed.
        shortlist_weights: weights of the first sum, over all features that need no model; it chooses the shortlist.
        weights: weights of the second sum, over all features; this sum gives the scores of the list.
        num_proposals: number of items that the counter and each table of vectors propose to a user.
        shortlist_length: largest number of candidates of a user that the model scores.
    """

    tables: BlendTables
    shortlist_weights: LogitWeights
    weights: LogitWeights
    num_proposals: int
    shortlist_length: int

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of ``features``."""
        return (*MODEL_FEATURES, *feature_names(self.tables))

    def blocks(self, users: BlendUsers) -> Iterator[tuple[int, int, BlockScores]]:
        """Yield for each block of users: the index of its first user, the index after its last user, and its scores."""
        size = int(np.clip(_BLOCK_ELEMENTS // max(self.tables.num_items, 1), 1, _BLOCK_USERS))
        for start in range(0, len(users), size):
            stop = min(start + size, len(users))
            yield start, stop, BlockScores(self.tables, users.part(start, stop))

    def propose(self, users: BlendUsers, allowed: NDArray[np.bool_]) -> tuple[Candidates, NDArray[np.float32]]:
        """Return the items that the counter and the vectors propose, and all features ``(n, F)`` that need no model.

        Args:
            allowed: ``(I,)`` whether each item may be listed.
        """
        found: list[Candidates] = []
        features = [np.zeros((0, len(feature_names(self.tables))), dtype=np.float32)]
        for start, _, scores in self.blocks(users):
            parts = scores.proposals(self.num_proposals, allowed)
            merged = Candidates.merged([Candidates.by(source, *pairs) for source, pairs in parts.items()])
            features.append(scores.features(merged.users, merged.items))
            found.append(replace(merged, users=merged.users + start))
        return Candidates.merged(found), np.concatenate(features)

    def shortlist(self, users: BlendUsers, allowed: NDArray[np.bool_]) -> tuple[Candidates, Candidates]:
        """Return all proposed items, and the shortlist: those proposed items that the model scores."""
        proposed, features = self.propose(users, allowed)
        scores = self.shortlist_weights.scores(features)
        return proposed, proposed.select(proposed.best(scores, self.ties(proposed), self.shortlist_length))

    def features(
        self, users: BlendUsers, candidates: Candidates, log_probs: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return all features ``(n, F)`` of candidates, NaN where unknown.

        Args:
            log_probs: ``(n,)`` log probabilities by the model; -inf for an item without codes or a user without a
                prompt. The feature is then unknown.
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

    def top_k(
        self, candidates: Candidates, scores: NDArray[np.float64], num_users: int, k: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]:
        """Return the K candidates of each user with the highest scores.

        Returns:
            item_index, scores and source bits, each ``(B, K)``; shorter lists are padded with -1, -inf and 0.
        """
        rows = candidates.best(scores, self.ties(candidates), k)
        best = candidates.select(rows)
        column = position_among_equal(best.users)
        items = np.full((num_users, k), -1, dtype=np.int32)
        values = np.full((num_users, k), -np.inf, dtype=np.float32)
        sources = np.zeros((num_users, k), dtype=np.uint8)
        items[best.users, column], values[best.users, column] = best.items, scores[rows]
        sources[best.users, column] = best.sources
        return items, values, sources

    def ties(self, candidates: Candidates) -> NDArray[np.int64]:
        """Return each candidate's position in the order of popularity, which decides between equal scores.

        Items that were added after the tables were computed come last.
        """
        order = np.append(self.tables.popularity_order, self.tables.num_items)
        return order[np.minimum(candidates.items, self.tables.num_items)]
