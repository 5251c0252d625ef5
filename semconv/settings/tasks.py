"""Settings of the section [tasks]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class TaskSettings:
    """Training tasks: prompts and labels."""

    sequential: bool = option(True, "Train the sequential (next-item) task: from a history to the next item.")
    text: bool = option(True, "Train the text task: from a title and description to the item.")
    query: bool = option(True, "Train the query task: from a user's search query to the item.")
    text_share: float = option(
        1.0, "Share of the items with text that are drawn for the text task in each epoch.", low=0, high=1
    )
    query_share: float = option(
        1.0, "Of the interactions that have a query, the share that each epoch draws for the query task.", low=0, high=1
    )
    negatives: int = option(
        3,
        "Number of negative items per training sample of the next-item task (paper, Table 4). The negative task asks"
        " which items the user will dislike, and these items are its labels. 0 turns the negative task off.",
        low=0,
    )
    negative_share: float = option(
        0.1, "Share of users for whom the negative task is drawn in each epoch.", low=0, high=1
    )
    late_position_share: float = option(
        0.05,
        "Share of the positions beyond the first 20 (split.history_length) of a sequence at which an epoch trains the"
        " next item. Each such position needs a prompt of its own.",
        low=0,
        high=1,
    )
    position_share: float | None = option(
        None,
        "Share of the first 20 positions (split.history_length) of a sequence at which an epoch trains the next item."
        " The latest of them is always trained. Unset: 1 for a pretrained model, and 0.2 for the built-in backbone,"
        " because tuning.history_loss covers its other positions at lower cost.",
        low=0,
        high=1,
    )
    negative_rating_max: float | None = option(
        None,
        "Interactions with at most this rating give negative items instead of labels. Unset: none do so.",
    )
    max_prompt_tokens: int = option(
        2048, "Prompts with more tokens are dropped. The training reports their number.", low=16
    )
    seed: int = option(0, "Random seed for the wordings of prompts and for negative items.", low=0)
