"""Top-K of many users in shards: what one shard computes, and how users are cut into shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.columns import SOURCE_FALLBACK, SOURCE_MODEL
from semconv.errors import InputError
from semconv.inference.fallback import fill_from_fallback
from semconv.inference.reasons import reasons
from semconv.inference.search import Searcher, SearchSettings
from semconv.inference.trie import CodeTrie
from semconv.store import TopK


@dataclass(frozen=True)
class Recommender:
    """Everything but the users.

    Attributes:
        model: causal language model in eval mode.
        trie: codes of the items that may be recommended.
        level_tokens: ``(N, C)`` token id of every code.
        settings: width, length and batch size of the search.
        fallback_ranking: ``(R,)`` item_index of allowed items for users without history, best first.
        vectors: ``(I, D)`` unit behaviour vectors (``reasons.vector_table``), None for no reasons.
        say: where a batch that memory did not hold is reported.
    """

    model: Any
    trie: CodeTrie
    level_tokens: NDArray[Any]
    settings: SearchSettings
    fallback_ranking: NDArray[Any]
    vectors: NDArray[np.float32] | None
    say: Callable[[str], None] = lambda _: None

    @cached_property
    def searcher(self) -> Searcher:
        """The search of all shards."""
        return Searcher(self.model, self.trie, self.level_tokens, self.settings, self.say)


@dataclass(frozen=True)
class ShardUsers:
    """Users of one shard, row r of everything belongs to ``users[r]``.

    Attributes:
        users: ``(R,)`` user_index.
        prompts: R arrays of token ids; an empty one means no history, the user gets the fallback.
        histories: R arrays of item_index in order, where reasons come from.
        seen: R arrays of item_index to leave out, or None to keep all.
    """

    users: NDArray[np.int32]
    prompts: Sequence[NDArray[Any]]
    histories: Sequence[NDArray[Any]]
    seen: Sequence[NDArray[Any]] | None


@dataclass(frozen=True)
class ShardResult:
    """Lists of one shard with where each place came from."""

    top_k: TopK
    is_fallback: NDArray[np.bool_]  # (R, K)
    reasons: NDArray[np.int32]  # (R, K) item_index, -1 for none

    def sources(self, row: int, place: int) -> list[str]:
        """Value of the column ``sources`` of one place."""
        return [SOURCE_FALLBACK if self.is_fallback[row, place] else SOURCE_MODEL]


def shards(num_users: int, shard_users: int) -> list[slice]:
    """Rows of at most ``shard_users`` users each: the same cut for as many users, so a job can go on after a kill."""
    starts = range(0, num_users, shard_users)
    return [slice(start, min(start + shard_users, num_users)) for start in starts]


def recommend_shard(recommender: Recommender, shard: ShardUsers) -> ShardResult:
    """Top-K of one shard: the search for users with a prompt, the fallback for the others and for short lists.

    Raises:
        InputError: rows of the shard disagree, or what ``Searcher`` raises.
    """
    count, top_k = len(shard.users), recommender.settings.top_k
    if not len(shard.prompts) == len(shard.histories) == count or (shard.seen is not None and len(shard.seen) != count):
        raise InputError(f"a shard of {count} users needs as many prompts, histories and seen lists")
    items = np.full((count, top_k), -1, dtype=np.int32)
    scores = np.full((count, top_k), -np.inf, dtype=np.float32)
    rows = [row for row, prompt in enumerate(shard.prompts) if len(prompt)]
    if rows:
        items[rows], scores[rows] = recommender.searcher.search(
            [shard.prompts[row] for row in rows],
            None if shard.seen is None else [shard.seen[row] for row in rows],
        )
    items, scores, is_fallback = fill_from_fallback(items, scores, recommender.fallback_ranking, shard.seen)
    if recommender.vectors is None:
        why = np.full(items.shape, -1, dtype=np.int32)
    else:
        why = reasons(shard.histories, items, recommender.vectors)
    return ShardResult(TopK(shard.users, items, scores), is_fallback, why)
