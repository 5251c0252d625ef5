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
        "Part of each user's sequence that is used for training: [:-2] all but the last two items (the validation"
        " item and the test item), [:-1] all but the last item (the test item), [:] everything.",
    )
    k_core: int = option(
        2,
        "Training leaves out users and items that have fewer interactions than this before the train cut. The filter is"
        " repeated until it removes no more users or items.",
        low=1,
    )
    history_length: int = option(20, "Number of a user's most recent items that a prompt shows.", low=1)
    temporal_at: str = option(
        "",
        "Split by time instead of leave-one-out. The value is the date of the test cut, or the share of all"
        " events before the test cut, such as 0.9. Training uses only interactions before the validation"
        " cut, or before the test cut if split.train_cut = [:-1]. The held-out item of a user is the user's first"
        " item after the test cut, or after the validation cut if --split is valid.",
    )
