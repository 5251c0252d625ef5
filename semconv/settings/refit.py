"""Settings of the section [refit]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class RefitSettings:
    """Limits beyond which the codes and the model should be refitted, as `semconv codebook report` and `semconv run` report."""

    text_coded_share: float = option(
        0.2,
        "Maximum share of items whose codes were predicted from their text, although a fit would now learn the codes from"
        " interactions.",
        low=0,
        high=1,
    )
    largest_first_code_growth: float = option(
        1.5, "Maximum growth, since the fit, of the share of items that have the most frequent first code.", low=1
    )
    text_error_growth: float = option(
        1.5,
        "Maximum ratio of the distance between new items' text and their codes to the same distance for items held out"
        " at the fit.",
        low=1,
    )
    interactions_growth: float = option(
        1.2, "Maximum growth of the number of training interactions since the model was tuned.", low=1
    )
    automatic: bool = option(
        False, "Let `semconv run` refit when a limit is exceeded. Otherwise it reports this and keeps the model."
    )
