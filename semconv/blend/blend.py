"""The blend: the transition counter and behaviour vectors propose items, and one weighted sum ranks all candidates.

A first weighted sum, of features that need no model, ranks the proposed items. This ranking is the blend without a model.
Its best items are the shortlist. The model then reads a user's prompt once: it finds items, and scores the items of the
shortlist. A second weighted sum includes the model's log probabilities. The second sum ranks the found items and the
shortlist together. The module ``fit`` fits the weights of both sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semconv.blend.candidates import Candidates
from semconv.blend.features import BlockScores, feature_names
from semconv.blend.tables import BlendTables, BlendUsers
from semconv.blend.weights import LogitWeights
from semconv.ragged import position_among_equal, slices
from semconv.search.search import CODE_SCORE, ITEM_SCORE

MODEL_SCORES: Final = (CODE_SCORE, ITEM_SCORE)  # a blend has those that its model gives
HAS_NO_SCORE: Final = "has no code"
_BLOCK_USERS = 512


@dataclass(frozen=True)
class Blend:
    """A fitted blend.

    Attributes:
        tables: the arrays from which features are computed.
        weights_without_model: weights of the first sum, over all features that need no model.
        weights: weights of the second sum, over all features; None if the blend was fitted without a model.
        num_proposals: number of items that the counter and each table of vectors propose to a user.
        shortlist_length: largest number of candidates of a user that the model scores; None for all, because the model
            scores every item anyway.
    """

    tables: BlendTables
    weights_without_model: LogitWeights
    weights: LogitWeights | None
    num_proposals: int
    shortlist_length: int | None

    def feature_names(self, model_scores: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the columns of ``features``.

        Args:
            model_scores: names of the model's scores.
        """
        of_model = [name for name in MODEL_SCORES if name in set(model_scores)]
        return (*of_model, HAS_NO_SCORE, *feature_names(self.tables))

    def blocks(self, users: BlendUsers) -> Iterator[tuple[int, int, BlockScores]]:
        """Yield for each block of users: the index of its first user, the index after its last user, and its scores."""
        for rows in slices(len(users), _BLOCK_USERS):
            yield rows.start, rows.stop, BlockScores(self.tables, users.part(rows.start, rows.stop))

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

    def shortlist(self, proposed: Candidates, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the rows of the shortlist, which are the proposed items that the model scores, user by user.

        Args:
            scores: ``(n,)`` scores of the proposed items by the first sum.
        """
        if self.shortlist_length is None:
            return np.arange(len(proposed.users))
        return proposed.best(scores, self.ties(proposed), self.shortlist_length)

    def features(
        self, users: BlendUsers, candidates: Candidates, model_scores: Mapping[str, NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Return all features ``(n, F)`` of candidates, NaN where unknown.

        Args:
            model_scores: log probabilities ``(n,)`` by the model, by name: those of ``MODEL_SCORES`` that the model
                gives. They are -inf, which is unknown, for an item without codes or a user without a prompt.
        """
        names = self.feature_names(model_scores)
        result = np.empty((len(candidates.users), len(names)), dtype=np.float32)
        first = names.index(HAS_NO_SCORE)
        for column, name in enumerate(names[:first]):
            result[:, column] = np.where(np.isneginf(model_scores[name]), np.nan, model_scores[name])
        result[:, first] = np.isnan(result[:, :first]).all(axis=1)
        for start, stop, scores in self.blocks(users):
            low, high = np.searchsorted(candidates.users, [start, stop])
            result[low:high, first + 1 :] = scores.features(
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
