"""Settings of the section [tasks]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class TaskSettings:
    """Training tasks: which prompts and labels the model is trained on."""

    sequential: bool = option(
        True, "Train the sequential (next-item) task: predict a user's next item from the history."
    )
    text: bool = option(True, "Train the text task: predict an item from its title and description.")
    query: bool = option(True, "Train the query task: predict an item from a user's search query.")
    text_share: float | None = option(
        None,
        "The text task of an epoch uses this share of the items that have text. Each epoch draws the items anew. The"
        " default is 0.2 with tuning.history = items, because a text costs as much as several histories, and 1 with"
        " tokens.",
        low=0,
        high=1,
    )
    query_share: float = option(
        1.0, "Share of the interactions with a query that each epoch draws for the query task.", low=0, high=1
    )
    negatives: int = option(
        3,
        "Number of negative items per training sample of the next-item task (paper, Table 4). The negative task"
        " trains the model to predict negative items for prompts that ask which item a user will not like. 0 turns"
        " the negative task off.",
        low=0,
    )
    negative_share: float = option(
        0.1, "Share of users for whom each epoch has samples of the negative task.", low=0, high=1
    )
    late_position_share: float = option(
        0.05,
        "Share of the positions after the first 20 (split.history_length) of a sequence for which each epoch has"
        " a sample of the next-item task. Each position after the first 20 needs a prompt of its own.",
        low=0,
        high=1,
    )
    position_share: float | None = option(
        None,
        "Share of the first 20 positions (split.history_length) of a sequence for which each epoch has a sample"
        " of the next-item task. The latest of the first 20 positions is always included. The default is 1 for a"
        " pretrained model, and 0.2 for the built-in backbone, because the loss tuning.history_loss covers all"
        " positions at lower cost.",
        low=0,
        high=1,
    )
    negative_rating_max: float | None = option(
        None,
        "Items that the user rated at most this high are used as negative items and never as positive labels. By"
        " default, ratings are not used.",
    )
    max_prompt_tokens: int = option(
        2048, "Training leaves out prompts with more tokens than this, and reports their number.", low=16
    )
    seed: int = option(0, "Random seed for the wordings of prompts and for negative items.", low=0)
