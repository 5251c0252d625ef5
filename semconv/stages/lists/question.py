"""One answer on screen: the best items for a user's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.runs.workspace import Context
from semconv.search.search import beam_search
from semconv.search.trie_file import open_trie
from semconv.stages.codes.trie_store import trie_file
from semconv.stages.lists.filters import allowed_items
from semconv.stages.lists.job import search_settings
from semconv.stages.tune.prompt_source import tuned_folder
from semconv.stages.tune.tuning import tuned_codes
from semconv.tasks.encoder import PromptEncoder


def answer_query(
    context: Context, finetune: RunRecord, text: str, user: int | None, where: str | None
) -> list[tuple[int, float]]:
    """Best items for a user's words: ``(item_index, score)``, best first.

    Left out are what the user has, and what the standing filter or ``where``, a condition in SQL, does not allow.

    Raises:
        InputError: the query is empty or too long.
        SettingsError: a filter is no condition, or allows nothing.
    """
    from semconv.tuning.model import load_tuned

    if not text.strip():
        raise InputError("the query is empty")
    codes, digest = tuned_codes(context, finetune)
    seen: Sequence[NDArray[Any]] | None = None
    with context.store.snapshot():
        catalog = context.store.catalog()
        allowed = allowed_items(context, catalog, where)
        if user is not None and context.settings.recommend.seen == "masked":
            seen = [context.sequences().of(user)]
    tuned = load_tuned(
        tuned_folder(context, finetune),
        digest,
        context.settings.recommend.dtype,
        trust_remote_code=context.settings.backbone.trust_remote_code,
    )
    trie = open_trie(trie_file(context, finetune, codes)).restrict(allowed)
    encoder = PromptEncoder(tuned.tokenizer, tuned.level_tokens, codes.item_index, codes.codes, len(catalog))
    prompt, limit = encoder.query_prompt(text), context.settings.tasks.max_prompt_tokens
    if len(prompt) > limit:
        raise InputError(
            f"the query is {len(prompt)} tokens long, at most {limit} can be asked (tasks.max_prompt_tokens)"
        )
    settings = search_settings(context.settings)
    items, scores = beam_search(tuned.model, trie, tuned.level_tokens, [prompt], seen, settings)
    return [(int(item), float(score)) for item, score in zip(items[0], scores[0], strict=True) if item >= 0]
