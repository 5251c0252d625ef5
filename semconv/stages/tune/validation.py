"""Compute the score for early stopping, which is NDCG@10 of the lists of a sample of validation users.

The lists have the scores and the mask of the lists that are served (``semconv.stages.agreement``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.data.histories import Histories, prompt_items
from semconv.data.splits import targets
from semconv.metrics import ndcg, target_ranks
from semconv.ragged import offsets_of
from semconv.runs.workspace import Workspace
from semconv.search.search import SearchSettings
from semconv.settings.tree import Settings
from semconv.settings.tuning import TuningSettings
from semconv.stages.agreement import HONEST_CUT, code_scores
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.tune.item_setup import ItemSetup, SplitMoments
from semconv.stages.tune.prompts import PromptSource

_LIST_LENGTH = 10


def search_validation(
    workspace: Workspace,
    source: PromptSource,
    codes: ItemCodes,
    level_tokens: NDArray[np.int64],
    tuning: TuningSettings,
    setup: ItemSetup | None,
) -> Callable[[Any], float] | None:
    """Return a function that computes a model's NDCG@10 on a fixed sample of users, with the mask of the settings.

    Return None when the train cut contains the validation items, because scores on them would be too optimistic.

    Args:
        setup: of a model that reads items; None for one that reads code tokens.
    """
    settings = workspace.settings
    if settings.tuning.validation_users == 0 or settings.split.train_cut != HONEST_CUT:
        return None
    sequences = workspace.sequences()
    histories = Histories.under(sequences, "valid", settings.recommend.seen_days)
    users = validation_users(histories, source.encoder.has_codes, settings)
    if len(users) == 0:
        return None
    allowed = workspace.store.catalog().is_servable
    of_users = _ValidationUsers(users, histories, allowed, is_masked=settings.recommend.seen == "masked")
    if setup is None:
        search = SearchSettings(_LIST_LENGTH, beams=20, scores=code_scores(settings.recommend, asdict(tuning)))
        items_of = _token_search(source, codes, level_tokens, search, of_users)
    else:
        split_moments = SplitMoments(sequences, "valid", settings.split.train_cut)
        items_of = _item_search(source, codes, setup, of_users, split_moments)
    held_out = targets(sequences, "valid")[users]

    def validate(model: Any) -> float:
        return float(ndcg(target_ranks(items_of(model), held_out), _LIST_LENGTH).mean())

    return validate


@dataclass(frozen=True)
class _ValidationUsers:
    """The users whose lists are scored, and what their lists may hold."""

    users: NDArray[np.int64]
    histories: Histories
    allowed: NDArray[np.bool_]  # (I,)
    is_masked: bool

    def whole(self) -> list[NDArray[np.int32]]:
        """Return the history of each user."""
        return [self.histories.of(int(user)) for user in self.users]

    def seen(self) -> list[NDArray[np.int32]] | None:
        """Return the items that the list of each user leaves out; None if lists may hold seen items."""
        return [self.histories.seen_of(int(user)) for user in self.users] if self.is_masked else None


def _token_search(
    source: PromptSource,
    codes: ItemCodes,
    level_tokens: NDArray[np.int64],
    search: SearchSettings,
    of_users: _ValidationUsers,
) -> Callable[[Any], NDArray[np.int32]]:
    """Return a function that makes the users' lists by beam search."""
    from semconv.search.search import Searcher
    from semconv.search.trie import CodeTrie

    encoder, seen, length = source.encoder, of_users.seen(), source.settings.split.history_length
    prompts = [encoder.inference_prompt(prompt_items(items, encoder.has_codes, length)) for items in of_users.whole()]
    trie = CodeTrie.build(codes.codes, codes.item_index, codes.popularity).restrict(of_users.allowed)
    return lambda model: Searcher(model, trie, level_tokens, search).search(prompts, seen).items


def _item_search(
    source: PromptSource,
    codes: ItemCodes,
    setup: ItemSetup,
    of_users: _ValidationUsers,
    split_moments: SplitMoments,
) -> Callable[[Any], NDArray[np.int32]]:
    """Return a function that makes the users' lists by the scores of all items."""
    from semconv.item_head.parts import NAME
    from semconv.item_head.prompts import PromptMaker
    from semconv.item_head.search import ItemSearcher

    moments = split_moments.of(source.data.num_items, is_dated=setup.calendar.num_periods > 0)
    successors = split_moments.successors(source.data.num_items) if setup.num_latest else None
    maker = PromptMaker(setup.calendar, source.encoder.has_codes, source.settings.split.history_length)
    prompts = maker.prompts(of_users.histories, of_users.users.astype(np.int32), moments)
    seen, allowed, search = of_users.seen(), of_users.allowed, SearchSettings(_LIST_LENGTH)

    def items_of(model: Any) -> NDArray[np.int32]:
        parts = getattr(model, NAME)
        searcher = ItemSearcher(model, parts, codes.item_index, allowed, moments.table, search, successors)
        return searcher.search(prompts, seen).items

    return items_of


def validation_users(histories: Histories, has_codes: NDArray[np.bool_], settings: Settings) -> NDArray[np.int64]:
    """Return a fixed sample of the users whose history under the split valid has an item with codes."""
    coded, starts, lengths = offsets_of(has_codes[histories.items]), histories.starts, histories.lengths
    with_history = (lengths > 0) & (coded[starts + np.maximum(lengths, 0)] > coded[starts])
    users = np.flatnonzero(with_history)
    wanted = min(settings.tuning.validation_users, len(users))
    return np.sort(np.random.default_rng(settings.tuning.seed).choice(users, wanted, replace=False))
