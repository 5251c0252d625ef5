"""Settings of the section [smoothed]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.settings.option import option


@dataclass(frozen=True)
class SmoothedSettings:
    """The smoothed transition counter and transitions over two hops, for the blend and the baselines."""

    decay: float = option(
        0.8, "Two items that are d positions apart in a sequence add decay^(d - 1) to the count of their pair.", low=0
    )
    reach: int = option(5, "Items of a sequence that are farther apart than this do not form a pair.", low=1)
    symmetry: float = option(
        0.7,
        "Weight of a pair of items that is counted in reverse order, compared with 1 for the order of the sequence.",
        low=0,
    )
    history_decay: float = option(
        0.8, "The n-th latest item of a user's history weighs history_decay^(n - 1) in the scores.", low=0
    )
    pseudo_count: float = option(
        100.0,
        "Added to the number of successors of an item before its counts are divided by it, so that rare items, whose few"
        " successors are mostly chance, count less.",
        low=0,
    )
    scale: float = option(
        300.0,
        "How many times as often as an average item an item has to follow another one, before more of it counts less"
        " and less. The score is log(1 + that number / scale).",
        low=1e-6,
    )
    hop_items: int = option(1, "Number of a user's latest items from which two hops start.", low=1)
    hop_successors: int = option(
        50, "Number of successors of each item, the most frequent ones, that two hops lead through.", low=1
    )
