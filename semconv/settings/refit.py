"""Settings of the section [refit]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class RefitSettings:
    """Limits for refitting codes and model. `semconv codebook report` and `semconv run` report which are exceeded."""

    text_coded_share: float = option(
        0.2,
        "Maximum share of items that have codes predicted from their text, but by now have interactions from which a"
        " refit would learn codes.",
        low=0,
        high=1,
    )
    largest_first_code_growth: float = option(
        1.5,
        "Maximum ratio of two shares: the share of items with the most frequent first code now, and at the codebook"
        " fit.",
        low=1,
    )
    text_error_growth: float = option(
        1.5,
        "Maximum ratio of two distances between the vectors predicted from text and their nearest codes: the distance"
        " of new items, and that of the items held out at the codebook fit.",
        low=1,
    )
    interactions_growth: float = option(
        1.2, "Maximum ratio of the number of training interactions now to the number when the model was tuned.", low=1
    )
    automatic: bool = option(
        False,
        "Let `semconv run` refit when a limit is exceeded. If false, it only reports the limit and keeps the model.",
    )
