"""Settings of the section [split]."""

from __future__ import annotations

from dataclasses import dataclass

from semconv.columns import TrainCut
from semconv.settings.option import option


@dataclass(frozen=True)
class SplitSettings:
    """Which interactions are used for training, and how long a history is."""

    train_cut: TrainCut = option(
        "[:-2]",
        "Which part of each user's sequence is used for training: [:-2] all but the last two items (validation and"
        " test), [:-1] all but the last item (test), [:] everything.",
    )
    k_core: int = option(
        2,
        "Users and items with fewer interactions than this are left out of training. The filter is repeated until it"
        " removes nothing more.",
        low=1,
    )
    history_length: int = option(20, "Number of a user's most recent items that a prompt shows.", low=1)
    temporal_at: str = option(
        "",
        "Split by time instead of leave-one-out. Give the date of the test cut, or the share of all interactions"
        " before it, such as 0.9. Every stage learns only from interactions before the cuts. The held-out item of a"
        " user is the first one after a cut.",
    )
