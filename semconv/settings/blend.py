"""Settings of the section [blend]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from semconv.errors import SettingsError
from semconv.settings.option import option


@dataclass(frozen=True)
class BlendSettings:
    """The blend: a weighted sum of the model's scores and of simpler scores."""

    use: Literal["auto", "always", "never"] = option(
        "auto",
        "Whether the blend or the model alone ranks the lists. auto uses the blend if it is better than the model"
        " on validation users: the confidence interval of the difference in NDCG@10 lies above 0.",
    )
    model: bool = option(
        True,
        "Use the tuned model, to propose items and as a part of the blend's score. If false, no model is tuned and no"
        " codes are made: the other parts of the blend rank the lists.",
    )
    transition: bool = option(
        True, "Use the transition counter (section [counter]) to propose items and as a part of the blend's score."
    )
    smoothed: bool = option(
        False,
        "Use the smoothed transition counter and transitions over two hops (section [smoothed]), and their products with"
        " the similarity of text vectors, as parts of the blend's score. Two hops also propose items.",
    )
    neighbor: bool = option(
        True,
        "Use the similarity of an item's behaviour vector to those of the items in the user's history, to propose"
        " items and as a part of the blend's score.",
    )
    text: bool = option(
        True,
        "Use the similarity of an item's text vector to those of the items in the user's history as a part of the"
        " blend's score, and to propose items without interactions.",
    )
    popularity: bool = option(
        True,
        "Use an item's popularity in the training data, and whether it has no interactions, as parts of the blend's score.",
    )
    recency: bool = option(
        True,
        "Use two numbers about an item as parts of the blend's score: its number of interactions in the days"
        " before the user's latest interaction, and its age on that day.",
    )
    candidates: int = option(
        60,
        "Number of items per user that the transition counter proposes. The behaviour vectors propose the same"
        " number, and the text vectors at most the same number of items without interactions.",
        low=1,
    )
    shortlist: int = option(
        20,
        "Maximum number of items per user that the model scores in addition to the items that its beam search"
        " finds. The best of the items that the transition counter and the behaviour vectors propose are chosen,"
        " by a score without the model.",
        low=1,
    )
    successors: int = option(
        1000,
        "For each item, the transition counter keeps only this number of successors, those with the largest"
        " weights (12 bytes each). 0 keeps all successors. The counter proposes to a user only kept successors of"
        " the items in the user's history.",
        low=0,
    )
    fit_users: int = option(
        10_000, "Maximum number of validation users on whom the weights of the blend are fitted.", low=10
    )
    l2: float = option(
        1e-4,
        "Strength of the L2 penalty on the weights of the blend. These weights apply to standardised features.",
        low=0,
    )
    seed: int = option(
        0, "Random seed for the sample of validation users and for the division of the sample into two folds.", low=0
    )

    def uses_model(self) -> bool:
        """Return whether the model ranks lists, alone or in the blend.

        Raises:
            SettingsError: the settings use neither the model nor the blend.
        """
        if not self.model and self.use == "never":
            raise SettingsError(
                "blend.model = false and blend.use = never leave no method that ranks lists; change one of them"
            )
        return self.model
