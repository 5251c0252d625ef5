"""Settings of the section [tasks]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class TaskSettings:
    """Training tasks: prompts and labels."""

    sequential: bool = option(True, "Train the sequential task: from a history to the next item.")
    text: bool = option(True, "Train the text task: from a title and description to the item.")
    query: bool = option(True, "Train the query task: from a user's search query to the item.")
    text_share: float = option(
        1.0, "Share of the items with text that are drawn for the text task in each epoch.", low=0, high=1
    )
    query_share: float = option(
        1.0, "Share of the interactions with a query that are drawn for the query task in each epoch.", low=0, high=1
    )
    negatives: int = option(
        3,
        "Negative items per sequential sample (paper, Table 4). The negative task asks which items the user will dislike,"
        " and these are its labels. 0 turns the task off.",
        low=0,
    )
    negative_share: float = option(
        0.1, "Share of users for whom the negative task is drawn in each epoch.", low=0, high=1
    )
    late_position_share: float = option(
        0.05,
        "Share of the positions after the first 20 (split.history_length) of a sequence whose next item is asked for in"
        " each epoch. Each needs a prompt of its own.",
        low=0,
        high=1,
    )
    position_share: float | None = option(
        None,
        "Share of the first 20 positions (split.history_length) of a sequence whose next item is asked for in each epoch."
        " The latest of them is always asked for. Unset: 0.2 for the embedded default, because tuning.history_loss covers the other"
        " positions at lower cost, and 1 for a pretrained model.",
        low=0,
        high=1,
    )
    negative_rating_max: float | None = option(
        None, "Interactions with at most this rating are used as negatives, not as labels. Unset: none."
    )
    max_prompt_tokens: int = option(2048, "Longer prompts are dropped and counted.", low=16)
    seed: int = option(0, "Random seed of wordings and negative items.", low=0)
