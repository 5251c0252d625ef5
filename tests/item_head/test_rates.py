"""The item parts of a model and its other weights have a learning rate each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from semconv.item_head.parts import NAME
from semconv.tuning.model import trainable
from tests.worlds import prompts as case
from tests.worlds.tuning.items import SETTINGS, ItemCase

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.mark.parametrize("rate", [1e-3, 0.0])
@pytest.mark.parametrize("item_rate", [None, 1e-2, 0.0])
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_item_parts_have_a_rate_of_their_own(tmp_path: Path, mode: str, item_rate: float | None, rate: float) -> None:
    """The first step of Adam changes each weight that has a gradient by the learning rate, up or down."""
    settings = replace(SETTINGS, mode=mode, lora_dropout=0.0, learning_rate=rate, item_learning_rate=item_rate)
    made = ItemCase(case.saved_model(tmp_path / "backbone"), settings)
    made.disturb()
    before = made.weights()
    made.step(share=0.5)
    moved = {name: float((weight - before[name]).abs().max()) for name, weight in made.weights().items()}
    for name in trainable(made.model):
        own = item_rate if name.startswith(f"{NAME}.") and item_rate is not None else rate
        assert moved[name] == pytest.approx(0.5 * own, rel=0.02), name
