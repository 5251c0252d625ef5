"""Top-K lists of one shard of users: by the model alone, by the blend, and by the blend without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.blend.blend import Blend
from semconv.blend.candidates import Candidates, source_bit, with_beams
from semconv.blend.reasons import blend_reasons
from semconv.blend.tables import BlendUsers
from semconv.blend.weights import LogitWeights
from semconv.columns import METHOD_BLEND, METHOD_MODEL, METHOD_WITHOUT_MODEL, SOURCE_FALLBACK, SOURCE_MODEL
from semconv.data.store import TopK
from semconv.errors import InputError
from semconv.item_head.search import ItemSearcher
from semconv.lists.fallback import fill_from_ranking
from semconv.lists.nearest import nearest_in_history
from semconv.search.search import Searcher, SearchResult


@dataclass(frozen=True)
class ShardUsers:
    """The users of one shard; row r of every field belongs to ``users[r]``.

    Attributes:
        users: ``(R,)`` user_index.
        prompts: R inputs of the search. An empty prompt means that the history has no item with codes. Not read
            without a search.
        histories: R arrays of item_index, the oldest item first; reasons are chosen from them.
        seen: R arrays of item_index to leave out, or None to leave out nothing.
        for_blend: the histories of the same users as the blend needs them; None without a blend.
    """

    users: NDArray[np.int32]
    prompts: Sequence[Any]
    histories: Sequence[NDArray[Any]]
    seen: Sequence[NDArray[Any]] | None
    for_blend: BlendUsers | None = None


@dataclass(frozen=True)
class ShardLists:
    """The lists of one shard by one method."""

    top_k: TopK
    sources: NDArray[np.uint8]  # (R, K) bits of columns.SOURCES_ORDER (``source_bit``)
    reasons: NDArray[np.int32]  # (R, K) item_index, -1 for none


@dataclass(frozen=True)
class Recommender:
    """Computes the lists of any shard.

    Attributes:
        searcher: the search with the tuned model, by its codes or by whole items; None for lists of a blend that was
            fitted without a model.
        fallback_ranking: ``(F,)`` item_index of items that may be listed, best first, for users without a history and
            for lists with fewer than K items.
        vectors: ``(I, D)`` behaviour vectors of length 1 (``blend.tables.unit_vectors``), from which reasons are
            computed; None for no such reasons.
        blend: ranks the model's items and other candidates together; None for lists by the model alone.
        allowed: ``(I,)`` whether each item may be listed, with codes or without; required with a blend.
        top_k: length K of the lists.
        compares: whether also the blend without a model makes lists, for an evaluation.
    """

    searcher: Searcher | ItemSearcher | None
    fallback_ranking: NDArray[Any]
    vectors: NDArray[np.float32] | None
    blend: Blend | None = None
    allowed: NDArray[np.bool_] | None = None
    top_k: int = 20
    compares: bool = False

    def lists(self, shard: ShardUsers) -> dict[str, ShardLists]:
        """Compute the lists by the model and, with a blend, by the blend; the model reads each prompt once.

        Returns:
            the lists by method. Without a search, only the blend without a model makes lists.

        Raises:
            InputError: the fields of the shard differ in length, or the search fails.
        """
        count = len(shard.users)
        has_prompts = self.searcher is None or len(shard.prompts) == count
        if not has_prompts or len(shard.histories) != count or (shard.seen is not None and len(shard.seen) != count):
            raise InputError(
                f"a shard of {count} users needs {count} prompts, {count} histories and {count} lists of seen items"
            )
        if self.blend is not None:
            return self._blended(shard, self.blend)
        if self.searcher is None:
            raise InputError("lists need a model or a blend; `semconv run` makes what is missing")
        return {METHOD_MODEL: self._by_model(shard, self.searcher.search(shard.prompts, shard.seen))}

    def _blended(self, shard: ShardUsers, blend: Blend) -> dict[str, ShardLists]:
        count, users = len(shard.users), shard.for_blend
        if users is None or len(users) != count or self.allowed is None:
            raise InputError(f"a blend needs the histories of all {count} users of a shard, and the allowed items")
        proposed, features = blend.propose(users, self.allowed)
        without = blend.weights_without_model.scores(features)
        lists: dict[str, ShardLists] = {}
        if self.searcher is None or blend.weights is None or self.compares:
            lists[METHOD_WITHOUT_MODEL] = self._best(shard, blend, blend.weights_without_model, proposed, without)
        if self.searcher is None or blend.weights is None:
            return lists
        shortlist = proposed.select(blend.shortlist(proposed, without))
        others = shortlist.table(count)
        found = self.searcher.search(shard.prompts, shard.seen, others)
        candidates, log_probs = with_beams(proposed, shortlist, others, found)
        features = blend.features(users, candidates, {self.searcher.score_name: log_probs})
        scores = blend.weights.scores(features)
        lists[METHOD_BLEND] = self._best(shard, blend, blend.weights, candidates, scores)
        lists[METHOD_MODEL] = self._by_model(shard, found)
        return lists

    def _best(
        self,
        shard: ShardUsers,
        blend: Blend,
        weights: LogitWeights,
        candidates: Candidates,
        scores: NDArray[np.float64],
    ) -> ShardLists:
        """Return the lists of the best candidates by a weighted sum, with their reasons."""
        items, best_scores, sources = blend.top_k(candidates, scores, len(shard.users), self.top_k)
        reasons = np.full(items.shape, -1, dtype=np.int32)
        if shard.for_blend is not None:
            reasons = blend_reasons(blend.tables, weights, shard.for_blend, items)
        return self._finished(shard, items, best_scores, sources, reasons)

    def _by_model(self, shard: ShardUsers, found: SearchResult) -> ShardLists:
        items, scores = found.items[:, : self.top_k], found.scores[:, : self.top_k]
        sources = np.where(items >= 0, source_bit(SOURCE_MODEL), 0).astype(np.uint8)
        return self._finished(shard, items, scores, sources, np.full(items.shape, -1, dtype=np.int32))

    def _finished(
        self,
        shard: ShardUsers,
        items: NDArray[np.int32],
        scores: NDArray[np.float32],
        sources: NDArray[np.uint8],
        reasons: NDArray[np.int32],
    ) -> ShardLists:
        """Fill up short lists, and set the missing reasons to the nearest item of the user's history."""
        items, scores, is_fallback = fill_from_ranking(items, scores, self.fallback_ranking, shard.seen)
        sources = np.where(is_fallback, source_bit(SOURCE_FALLBACK), sources).astype(np.uint8)
        if self.vectors is not None:
            reasons = np.where(reasons >= 0, reasons, nearest_in_history(shard.histories, items, self.vectors))
        return ShardLists(TopK(shard.users, items, scores), sources, reasons)
