"""Settings of a tuning with histories as items that depend on the number of training interactions or items."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from semconv.settings.tuning import TuningSettings

# Epochs at _INTERACTIONS, measured on Games with the default dropout: a longer training there wants more of it.
_EPOCHS: Final = 6
_INTERACTIONS: Final = 300_000
_FEWEST, _MOST = 5, 24
_ALL_ITEMS: Final = 50_000  # largest catalogue whose items all compete with a label
_SAMPLED_ITEMS: Final = 8_192


def with_epochs(tuning: TuningSettings, num_interactions: int) -> TuningSettings:
    """Return the settings with a number of epochs.

    Without one of its own, a tuning has 6 epochs at 300,000 training interactions, and a number that falls with the root
    of the interactions: 24 at 19,000 and fewer, 5 at 430,000 and more. More interactions mean more steps an epoch.
    """
    if tuning.epochs is not None:
        return tuning
    wanted = _EPOCHS * (_INTERACTIONS / max(1, num_interactions)) ** 0.5
    return dataclasses.replace(tuning, epochs=int(np.clip(round(wanted), _FEWEST, _MOST)))


def num_sampled(tuning: TuningSettings, num_items: int) -> int:
    """Return how many items a training step draws to compete with a label, 0 for all.

    Args:
        num_items: number of items with training interactions.
    """
    if tuning.sampled_items is not None:
        return tuning.sampled_items
    return 0 if num_items <= _ALL_ITEMS else _SAMPLED_ITEMS
