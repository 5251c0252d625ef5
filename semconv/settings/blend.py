"""Settings of the section [blend]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.settings.option import option


@dataclass(frozen=True)
class BlendSettings:
    """The blend: a weighted sum of the model's scores and of simpler scores."""

    use: Literal["auto", "always", "never"] = option(
        "auto",
        "When lists come from the blend instead of the model alone. auto: if it is better on validation users, that is,"
        " if the confidence interval of the difference lies above 0.",
    )
    transition: bool = option(
        True, "Use the transition counter (section [counter]) to propose items and as a part of the score."
    )
    neighbor: bool = option(
        True,
        "Use the similarity of behaviour vectors to the history to propose items and as a part of the score.",
    )
    text: bool = option(True, "Use the similarity of text vectors to the history as a part of the score.")
    popularity: bool = option(True, "Use the popularity in the training data as a part of the score.")
    recency: bool = option(
        True,
        "Use two figures of an item as parts of the score: its number of interactions in the days before the user's"
        " latest interaction, and its age on that day.",
    )
    candidates: int = option(
        60,
        "Items per user that the transition counter proposes, and as many that the behaviour vectors propose.",
        low=1,
    )
    shortlist: int = option(
        20,
        "Maximum number of proposed items per user that the model scores, in addition to those of its own beams. The"
        " other parts of the score choose them.",
        low=1,
    )
    successors: int = option(
        1000,
        "Successors per item that the transition counter keeps, those with the largest weights; 12 bytes each. 0 keeps"
        " all. The counter proposes items to a user only from these successors of the items in the history.",
        low=0,
    )
    fit_users: int = option(10_000, "Maximum number of validation users on whom the weights are fitted.", low=10)
    l2: float = option(1e-4, "Weight of the L2 penalty on the weights of the standardised scores.", low=0)
    seed: int = option(0, "Random seed of the sample of users and of their two folds.", low=0)
