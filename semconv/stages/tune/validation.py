"""Compute the score for early stopping, which is NDCG@10 of the beam search for a sample of validation users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.data.histories import Histories, prompt_items
from semconv.data.splits import history_lengths, targets
from semconv.data.store import Sequences
from semconv.metrics import ndcg, target_ranks
from semconv.ragged import offsets_of
from semconv.runs.workspace import Workspace
from semconv.settings.tree import Settings
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.tune.prompts import PromptSource


def search_validation(
    workspace: Workspace, source: PromptSource, codes: ItemCodes, level_tokens: NDArray[np.int64], loss_over: str
) -> Callable[[Any], float] | None:
    """Return a function that computes a model's NDCG@10 on a fixed sample of users, with seen items left out.

    Return None when the train cut contains the validation items, because scores on them would be too optimistic.
    """
    settings = workspace.settings
    if settings.tuning.validation_users == 0 or settings.split.train_cut != "[:-2]":
        return None
    from semconv.search.search import Searcher, SearchSettings
    from semconv.search.trie import CodeTrie

    sequences = workspace.sequences()
    held_out = targets(sequences, "valid")
    users = validation_users(sequences, source.encoder.has_codes, settings)
    if len(users) == 0:
        return None
    all_histories = Histories.under(sequences, "valid")
    histories = [all_histories.of(int(user)) for user in users]
    length = settings.split.history_length
    prompts = [
        source.encoder.inference_prompt(prompt_items(history, source.encoder.has_codes, length))
        for history in histories
    ]
    allowed = workspace.store.catalog().is_servable
    trie = CodeTrie.build(codes.codes, codes.item_index, codes.popularity).restrict(allowed)
    # The search computes probabilities over the same tokens as the loss.
    search = SearchSettings(top_k=10, beams=20, scores="trie" if loss_over == "trie" else "full")

    def validate(model: Any) -> float:
        items = Searcher(model, trie, level_tokens, search).search(prompts, histories).items
        return float(ndcg(target_ranks(items, held_out[users]), 10).mean())

    return validate


def validation_users(sequences: Sequences, has_codes: NDArray[np.bool_], settings: Settings) -> NDArray[np.int64]:
    """Return a fixed sample of the users whose history under the split valid has an item with codes."""
    ends = history_lengths(sequences, "valid")
    coded = offsets_of(has_codes[sequences.items])
    with_history = (ends > 0) & (coded[sequences.offsets[:-1] + np.maximum(ends, 0)] > coded[sequences.offsets[:-1]])
    users = np.flatnonzero(with_history)
    wanted = min(settings.tuning.validation_users, len(users))
    return np.sort(np.random.default_rng(settings.tuning.seed).choice(users, wanted, replace=False))
