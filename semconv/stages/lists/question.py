"""Search items with a query in words."""

from __future__ import annotations

from dataclasses import replace

from semconv.data.histories import Histories
from semconv.errors import InputError
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.stages.lists.filters import allowed_items
from semconv.stages.tune.tuned import TunedFiles


def answer_question(
    workspace: Workspace, lineage: Lineage, text: str, user: int | None, where: str | None
) -> list[tuple[int, float]]:
    """Return the best items for a query in words, each as ``(item index, score)``, best first.

    Args:
        lineage: the current lineage of the model.
        user: user index; the seen items of this user are left out if ``recommend.seen`` is ``masked``.
        where: a SQL condition on the table ``item``, in addition to ``recommend.where``.

    Raises:
        InputError: the query is empty or too long.
        SettingsError: a filter is not a condition, or allows no item.
    """
    if not text.strip():
        raise InputError("the query is empty; give at least one word")
    settings = workspace.settings
    seen = None
    with workspace.store.snapshot():
        catalog = workspace.store.catalog()
        allowed = allowed_items(workspace, catalog, where)
        if user is not None and settings.recommend.seen == "masked":
            split = lineage.finetune.settings["split"]
            histories = Histories.under(workspace.sequences(split=split), "serve", settings.recommend.seen_days)
            seen = [histories.seen_of(user)]
    # Compiling takes longer than one search saves.
    as_it_is = replace(settings, recommend=replace(settings.recommend, compile=False))
    tuned = TunedFiles.read(workspace, lineage, catalog, None).load(as_it_is, allowed, workspace.progress.say)
    prompt, limit = tuned.query(text), settings.tasks.max_prompt_tokens
    if len(prompt) > limit:
        raise InputError(
            f"the prompt of the query has {len(prompt)} tokens, but at most {limit} are allowed (tasks.max_prompt_tokens);"
            " shorten the query"
        )
    found, top_k = tuned.searcher.search([prompt], seen), settings.recommend.top_k
    best = zip(found.items[0, :top_k], found.scores[0, :top_k], strict=True)
    return [(int(item), float(score)) for item, score in best if item >= 0]
