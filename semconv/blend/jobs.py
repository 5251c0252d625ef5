"""Top-K of many users in shards: what one shard computes, and how users are cut into shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.blend.blend import Blend, SearchAndScore, source_bit, with_model
from semconv.blend.blend_reasons import blend_reasons
from semconv.blend.fallback import fill_from_fallback
from semconv.blend.reasons import reasons
from semconv.blend.tables import BlendUsers
from semconv.columns import METHOD_BLEND, METHOD_MODEL, SOURCE_FALLBACK, SOURCE_MODEL, SOURCES_ORDER
from semconv.data.store import TopK
from semconv.errors import InputError
from semconv.search.search import Searcher


@dataclass(frozen=True)
class Recommender:
    """Everything but the users.

    Attributes:
        searcher: the search over the items that may be recommended.
        fallback_ranking: ``(R,)`` item_index of allowed items for users without history, best first.
        vectors: ``(I, D)`` unit behaviour vectors (``reasons.vector_table``), None for no reasons.
        blend: what ranks beams and other candidates together, None for the model's own lists.
        allowed: ``(I,)`` items that may be listed, with codes or without, for a blend's proposals.
    """

    searcher: Searcher
    fallback_ranking: NDArray[Any]
    vectors: NDArray[np.float32] | None
    blend: Blend | None = None
    allowed: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class ShardUsers:
    """Users of one shard, row r of everything belongs to ``users[r]``.

    Attributes:
        users: ``(R,)`` user_index.
        prompts: R arrays of token ids; an empty one means no history, the user gets the fallback.
        histories: R arrays of item_index in order, where reasons come from.
        seen: R arrays of item_index to leave out, or None to keep all.
        for_blend: what a blend reads of them.
    """

    users: NDArray[np.int32]
    prompts: Sequence[NDArray[Any]]
    histories: Sequence[NDArray[Any]]
    seen: Sequence[NDArray[Any]] | None
    for_blend: BlendUsers | None = None


@dataclass(frozen=True)
class ShardResult:
    """Lists of one shard with where each place came from."""

    top_k: TopK
    sources: NDArray[np.uint8]  # (R, K) bits of columns.SOURCES_ORDER
    reasons: NDArray[np.int32]  # (R, K) item_index, -1 for none

    def sources_of(self, row: int, place: int) -> list[str]:
        """Value of the column ``sources`` of one place."""
        return [source for source in SOURCES_ORDER if self.sources[row, place] & source_bit(source)]


def shards(num_users: int, shard_users: int) -> list[slice]:
    """Rows of at most ``shard_users`` users each: the same cut for as many users, so a job can go on after a kill."""
    starts = range(0, num_users, shard_users)
    return [slice(start, min(start + shard_users, num_users)) for start in starts]


def recommend_shard(recommender: Recommender, shard: ShardUsers) -> ShardResult:
    """Top-K of one shard: the blend where there is one, else the search."""
    lists = recommend_methods(recommender, shard)
    return lists.get(METHOD_BLEND, lists[METHOD_MODEL])


def recommend_methods(recommender: Recommender, shard: ShardUsers) -> dict[str, ShardResult]:
    """Top-K of one shard by the model, and with a blend by that too; the prompts are read once for both.

    Users without history get the fallback, and so do the ends of short lists.

    Raises:
        InputError: rows of the shard disagree, or what ``Searcher`` raises.
    """
    count, top_k = len(shard.users), recommender.searcher.top_k
    if not len(shard.prompts) == len(shard.histories) == count or (shard.seen is not None and len(shard.seen) != count):
        raise InputError(f"a shard of {count} users needs as many prompts, histories and seen lists")
    if recommender.blend is None:
        rows = _with_prompt(shard.prompts)
        items = np.full((count, top_k), -1, dtype=np.int32)
        scores = np.full((count, top_k), -np.inf, dtype=np.float32)
        if len(rows):
            items[rows], scores[rows] = recommender.searcher.search(
                [shard.prompts[row] for row in rows], _rows_of(shard.seen, rows)
            )
        return {METHOD_MODEL: _finished(recommender, shard, (items, scores, _by_model(items)))}
    if shard.for_blend is None or len(shard.for_blend) != count or recommender.allowed is None:
        raise InputError(f"a shard of {count} users is to be blended without what a blend reads of them")
    return _blended(recommender, shard, recommender.blend, (shard.for_blend, recommender.allowed))


def _blended(
    recommender: Recommender, shard: ShardUsers, blend: Blend, of: tuple[BlendUsers, NDArray[np.bool_]]
) -> dict[str, ShardResult]:
    users, top_k = of[0], recommender.searcher.top_k
    proposed, shortlist = blend.shortlisted(*of)
    candidates, log_probs, (beams, beam_scores) = with_model(
        proposed, shortlist, len(users), search_and_score(recommender.searcher, shard.prompts, shard.seen)
    )
    blended = blend.weights.scores(blend.features(users, candidates, log_probs))
    lists = blend.ranked(candidates, blended, len(users), top_k)
    why = blend_reasons(blend, users, lists[0])
    own = beams[:, :top_k], beam_scores[:, :top_k], _by_model(beams[:, :top_k])
    return {METHOD_BLEND: _finished(recommender, shard, lists, why), METHOD_MODEL: _finished(recommender, shard, own)}


def search_and_score(
    searcher: Searcher, prompts: Sequence[NDArray[Any]], seen: Sequence[NDArray[Any]] | None
) -> SearchAndScore:
    """What ``blend.with_model`` asks for; a user without a prompt has no beams, and no item a log probability."""

    def compute(others: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        count, width = len(others), searcher.width
        items = np.full((count, width), -1, dtype=np.int32)
        scores = np.full((count, width), -np.inf, dtype=np.float32)
        of_others = np.full(others.shape, -np.inf, dtype=np.float32)
        rows = _with_prompt(prompts)
        if len(rows):
            items[rows], scores[rows], of_others[rows] = searcher.search_and_score(
                [prompts[row] for row in rows], _rows_of(seen, rows), others[rows]
            )
        return items, scores, of_others

    return compute


def _with_prompt(prompts: Sequence[NDArray[Any]]) -> list[int]:
    return [row for row, prompt in enumerate(prompts) if len(prompt)]


def _rows_of(seen: Sequence[NDArray[Any]] | None, rows: Sequence[int]) -> list[NDArray[Any]] | None:
    return None if seen is None else [seen[row] for row in rows]


def _by_model(items: NDArray[np.int32]) -> NDArray[np.uint8]:
    return np.where(items >= 0, source_bit(SOURCE_MODEL), 0).astype(np.uint8)


def _finished(
    recommender: Recommender,
    shard: ShardUsers,
    lists: tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]],
    why: NDArray[np.int32] | None = None,
) -> ShardResult:
    """Lists with items, scores and sources: their ends filled, and reasons by nearness where none are given."""
    items, scores, is_fallback = fill_from_fallback(*lists[:2], recommender.fallback_ranking, shard.seen)
    sources = np.where(is_fallback, source_bit(SOURCE_FALLBACK), lists[2]).astype(np.uint8)
    near = np.full(items.shape, -1, dtype=np.int32)
    if recommender.vectors is not None:
        near = reasons(shard.histories, items, recommender.vectors)
    return ShardResult(
        TopK(shard.users, items, scores), sources, near if why is None else np.where(why >= 0, why, near)
    )
