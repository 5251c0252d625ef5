"""The number of epochs that follows from the number of interactions."""

from __future__ import annotations

import pytest

from semconv.item_head.recipe import num_sampled, with_epochs
from semconv.settings.tuning import TuningSettings


@pytest.mark.parametrize(
    ("interactions", "epochs"),
    [(0, 24), (18_750, 24), (75_000, 12), (150_000, 8), (300_000, 6), (500_000, 5), (10**9, 5)],
)
def test_epochs_fall_with_the_root_of_the_interactions(interactions: int, epochs: int) -> None:
    assert with_epochs(TuningSettings(), interactions).epochs == epochs


def test_a_number_that_was_set_stays() -> None:
    assert with_epochs(TuningSettings(epochs=40), 10**9).epochs == 40


def test_a_large_catalogue_draws_items_for_the_loss() -> None:
    assert [num_sampled(TuningSettings(), items) for items in (10, 50_000, 50_001, 10**6)] == [0, 0, 8192, 8192]
    assert [num_sampled(TuningSettings(sampled_items=set_to), 10**6) for set_to in (0, 100)] == [0, 100]
