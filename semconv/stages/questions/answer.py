"""Answer a question in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from semconv.errors import InputError
from semconv.questions.features import Questions
from semconv.questions.fusion import Fusion, best_answers, text_alone, without_words
from semconv.questions.index import Matches
from semconv.runs.workspace import Workspace
from semconv.stages.questions.setup import Answering, Shop, question_lineage
from semconv.stages.questions.weights import ALONE, WITH_USER, QuestionWeights, question_weights
from semconv.stages.questions.word_file import word_index

_MOST_NAMED_WORDS = 5  # that a message quotes


def answer_question(
    workspace: Workspace, text: str, user_id: str | None = None, where: str | None = None
) -> list[dict[str, Any]]:
    """Return the best items for a question in words, best first: ``rank``, ``item_id``, ``title`` and ``score``.

    The progress display says how the items were ranked.

    Args:
        user_id: rank for this user; items that the user has seen are left out if ``recommend.seen`` is ``masked``.
        where: a SQL condition on the table ``item``, in addition to ``recommend.where``.

    Raises:
        InputError: the question is empty or too long, the user is unknown, or no item matches and there is no model.
        SettingsError: a filter is not a condition, or allows no item.
    """
    if not text.strip():
        raise InputError("the query is empty; give at least one word")
    lineage = question_lineage(workspace)
    shop = Shop.read(workspace, where, with_users=user_id is not None, lineage=lineage)
    user = None if user_id is None else _user(shop, user_id)
    weights = question_weights(workspace, lineage)
    index = word_index(workspace, lineage, shop.catalog, shop.facets)
    match = index.match(text)
    fitted = weights.fusions.get(ALONE if user is None else WITH_USER)
    with_model = fitted is not None or not match.is_known
    answering = Answering.load(workspace, lineage, shop, index, weights.popularity, with_model=with_model)
    limit, length = workspace.settings.tasks.max_prompt_tokens, answering.num_tokens(text)
    if length > limit:
        raise InputError(
            f"the prompt of the query has {length} tokens, but at most {limit} are allowed (tasks.max_prompt_tokens);"
            " shorten the query"
        )
    askers = None if user is None else answering.askers(np.array([user], dtype=np.int32))
    scored = answering.scorer.score(Questions([text], answering.prompts([text], limit), askers))
    fusion = _fusion(match, fitted, scored.names)
    workspace.progress.say(_remark(match, weights, fitted, has_model=answering.tuned is not None))
    items, scores = best_answers(scored, fusion.scores(scored), workspace.settings.recommend.top_k)
    catalog = shop.catalog
    return [
        {"rank": rank, "item_id": catalog.item_ids[item], "title": catalog.titles[item], "score": float(score)}
        for rank, (item, score) in enumerate(zip(items[0].tolist(), scores[0].tolist(), strict=True), start=1)
        if item >= 0
    ]


def _user(shop: Shop, user_id: str) -> int:
    assert shop.sequences is not None
    names = list(shop.sequences.user_ids)
    if user_id not in names:
        raise InputError(f"unknown user {user_id}; leave out --user to rank items by the query alone")
    return names.index(user_id)


def _fusion(match: Matches, fitted: Fusion | None, names: tuple[str, ...]) -> Fusion:
    """Return the fusion that ranks the answers to one question.

    Raises:
        InputError: no item matches, and there is neither a model nor a text vector to rank by.
    """
    if fitted is not None:
        return fitted
    if match.is_known:
        return text_alone(names)
    found = without_words(names)
    if found is None:
        raise InputError(f"{_unmatched(match)}, and there is no model yet that could answer; use other words")
    return found


def _unmatched(match: Matches) -> str:
    """Say why no text matches a question."""
    if match.unknown:
        words = ", ".join(match.unknown[:_MOST_NAMED_WORDS])
        return f"no item has a word of the query ({words})"
    return "the query has only words that say nothing about an item, or that most items have"


def _remark(match: Matches, weights: QuestionWeights, fitted: Fusion | None, *, has_model: bool) -> str:
    """Say in one line how the answers were ranked, and why."""
    way = "text matching and the model" if has_model else "text matching"
    if fitted is not None:
        ranked = f"ranked by {way}, with {weights.remark}"
    elif match.is_known:
        ranked = f"ranked by text matching alone: {weights.remark}"
    else:
        ranked = f"ranked by {'the model alone' if has_model else 'text vectors alone'}"
    if not match.is_known:
        return f"{_unmatched(match)}; {ranked}"
    if match.kinds:
        ranked += f"; items of the kind {' or '.join(match.kinds)} come first"
    if match.unknown:
        ranked += f"; no item has the words {', '.join(match.unknown[:_MOST_NAMED_WORDS])}"
    return ranked
