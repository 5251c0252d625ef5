"""Settings of the section [refit]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class RefitSettings:
    """Limits that decide when a refit of codes and model is due. `semconv codebook report` and `semconv run` report which limits are exceeded."""

    text_coded_share: float = option(
        0.2,
        "A refit is due if more than this share of the items have codes predicted from their text, although these"
        " items now have interactions that codes could be learned from.",
        low=0,
        high=1,
    )
    largest_first_code_growth: float = option(
        1.5,
        "A refit is due if the share of items that have the most frequent first code is more than this many times"
        " its share at the codebook fit.",
        low=1,
    )
    text_error_growth: float = option(
        1.5,
        "The error of codes predicted from text is the distance between an item's predicted vector and its codes."
        " A refit is due if this error of new items is more than this many times the error of items held out at"
        " the codebook fit.",
        low=1,
    )
    interactions_growth: float = option(
        1.2,
        "A refit is due if the number of training interactions is more than this many times the number at the"
        " last tuning of the model.",
        low=1,
    )
    automatic: bool = option(
        False,
        "Let `semconv run` refit when a limit of this section is exceeded. If false, `semconv run` only reports"
        " that the limit is exceeded, and keeps the model.",
    )
