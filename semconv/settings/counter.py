"""Settings of the section [counter]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class CounterSettings:
    """The transition counter, which counts how often an item follows another one, for the blend and the baselines."""

    decay: float = option(
        0.6, "Two items that are d positions apart in a sequence add d^-decay to the count of their pair."
    )
    symmetry: float = option(
        0.7,
        "Weight of a pair of items that is counted in reverse order, compared with 1 for the order of the sequence.",
    )
    history_decay: float = option(
        0.75,
        "The n-th latest item of a user's history weighs n^-history_decay, in the counter's scores and in the baseline"
        " item-cosine.",
    )
    alpha: float = option(0.5, "The counts of an item's successors are divided by (their sum + 1)^alpha.")
