"""Compute NDCG@10 of the lists of a sample of validation users, for early stopping and for numbers chosen after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.item_head.parts import NAME
from semconv.item_head.prompts import PromptMaker
from semconv.item_head.search import Counted, ItemSearcher
from semconv.item_head.setup import ItemSetup
from semconv.metrics import ndcg, target_ranks
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie import CodeTrie
from semconv.tasks.user_prompts import TokenPrompts
from semconv.train.task import TuningTask
from semconv.train.validation import Validation

_LIST_LENGTH = 10
Seen = list[NDArray[np.int32]] | None
Lists = Callable[[Any], NDArray[np.int32]]


def ndcg_of(
    task: TuningTask, only: NDArray[np.bool_] | None = None, most_users: int = 0
) -> Callable[[Any], NDArray[np.float64]] | None:
    """Return a function that computes the NDCG@10 ``(V,)`` of a model's lists; None without validation users.

    The lists have the mask of the settings.

    Args:
        only: ``(I,)`` items to which lists and targets are restricted; users with another target are left out. None for no
            restriction.
        most_users: if there are more validation users, this number of them is drawn; 0 for all.
    """
    data = task.validation
    if data is None:
        return None
    if 0 < most_users < len(data.targets):
        drawn = np.random.default_rng(task.tuning.seed).choice(len(data.targets), most_users, replace=False)
        data = data.of_users(np.sort(drawn))
    targets = data.targets
    chosen = np.ones(len(targets), dtype=bool) if only is None else only[targets]
    if only is not None:
        data = replace(data, is_allowed=data.is_allowed & only)
    seen = [data.histories.seen_of(user) for user in range(len(targets))] if data.is_masked else None
    items_of = _token_lists(task, data, seen) if task.setup is None else _item_lists(task, task.setup, data, seen)

    return lambda model: ndcg(target_ranks(items_of(model), targets), _LIST_LENGTH)[chosen]


def _token_lists(task: TuningTask, data: Validation, seen: Seen) -> Lists:
    """Return a function that makes the users' lists by beam search."""
    encoder, length = task.encoder, task.history_length
    maker = TokenPrompts(encoder, length, None if data.moments is None else data.moments.days)
    prompts = maker.of_users(data.histories, np.arange(len(data.targets)))
    trie = CodeTrie.build(task.codes, task.item_index, data.popularity).restrict(data.is_allowed)
    search = SearchSettings(_LIST_LENGTH, beams=20, scores=data.scores)
    return lambda model: Searcher(model, trie, task.level_tokens, search).search(prompts, seen).items


def _item_lists(task: TuningTask, setup: ItemSetup, data: Validation, seen: Seen) -> Lists:
    """Return a function that makes the users' lists by the scores of all items."""
    assert data.moments is not None
    moments, search = data.moments.moments(), SearchSettings(_LIST_LENGTH)
    maker = PromptMaker(setup.calendar, task.encoder.has_codes, task.history_length)
    prompts = maker.prompts(data.histories, np.arange(len(data.targets), dtype=np.int32), moments)

    def items_of(model: Any) -> NDArray[np.int32]:
        parts = getattr(model, NAME)
        counted = Counted(moments.table, data.successors)
        searcher = ItemSearcher(model, parts, task.item_index, data.is_allowed, counted, search)
        return searcher.search(prompts, seen).items

    return items_of
