"""The factor of the successors after a training: what is chosen, and that the model is as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from semconv.data.histories import Histories
from semconv.item_head.parts import NAME, ItemParts, PartsShape
from semconv.progress import Silent
from semconv.train import scoring
from semconv.train.calibration import successor_factor
from semconv.train.pack import write_weights
from semconv.train.result import TRAINED, Result
from semconv.train.scoring import ndcg_of
from semconv.train.training import SUCCESSOR_FACTOR, weigh_successors
from semconv.train.validation import Validation
from semconv.tuning.model import trainable


def model_with(num_latest: int) -> torch.nn.Module:
    shape = PartsShape(num_items=3, width=4, text_width=0, num_periods=0, num_latest=num_latest)
    parts = ItemParts(shape, np.zeros((3, 4), dtype=np.int64), np.zeros((3, 0), dtype=np.float32), np.ones(3), seed=0)
    model = torch.nn.Module()
    model.add_module(NAME, parts)
    return model


def weights_of(model: torch.nn.Module) -> torch.Tensor:
    return getattr(model, NAME).successor_weights(torch.ones(1, 4))


def peak_at(best: float, seen: list[float]) -> Callable[[torch.nn.Module], NDArray[np.float64]]:
    """Return a score of 500 users that falls with the distance of the factor from ``best``, in powers of 2."""
    start = getattr(model_with(2), NAME).successor_start[0].item()

    def ndcg_of(model: torch.nn.Module) -> NDArray[np.float64]:
        factor = getattr(model, NAME).successor_start[0].item() / start
        seen.append(factor)
        return np.full(500, 0.5 - 0.01 * abs(np.log2(factor / best)))

    return ndcg_of


@pytest.mark.parametrize(
    ("best", "tried"),
    [
        (1.0, [1, 2, 0.5]),
        (4.0, [1, 2, 4, 8]),
        (0.25, [1, 2, 0.5, 0.25, 0.125]),
        (100.0, [1, 2, 4, 8, 16]),
    ],
)
def test_the_factor_goes_on_while_the_lists_get_better(best: float, tried: list[float]) -> None:
    model, seen = model_with(2), []
    before = weights_of(model).clone()
    assert successor_factor(model, peak_at(best, seen)) == min(best, 16.0)
    assert seen == pytest.approx(tried)
    assert torch.equal(weights_of(model), before)


def test_a_difference_within_the_noise_changes_nothing() -> None:
    assert successor_factor(model_with(2), lambda _: np.full(500, 0.5)) == 1.0
    assert successor_factor(model_with(2), lambda _: np.full(1, 0.5)) == 1.0
    users = np.random.default_rng(0).normal(0, 1, 500)
    chance = np.zeros(500)
    chance[:3] = 0.9, 0.9, -0.9
    better_by_chance = iter([users, users + chance, users])
    assert successor_factor(model_with(2), lambda _: next(better_by_chance)) == 1.0


@pytest.mark.parametrize(
    ("setting", "is_continued", "given", "times"),
    [(None, False, 1.0, 1.0), (2.0, False, 2.0, 2.0), (0.0, False, 0.0, 0.0), (2.0, True, 1.0, 1.0)],
)
def test_a_factor_of_the_settings_is_applied_once(
    setting: float | None, is_continued: bool, given: float, times: float
) -> None:
    data = SimpleNamespace(replay=object() if is_continued else None)
    tuning = SimpleNamespace(successor_factor=setting)
    task: Any = SimpleNamespace(setup=SimpleNamespace(num_latest=2), tuning=tuning, data=data)
    model = model_with(2)
    before = weights_of(model).clone()
    assert weigh_successors(task, model, None, Silent()) == given
    assert torch.equal(weights_of(model), times * before)


def test_weights_are_multiplied_once_and_restored_exactly() -> None:
    model = model_with(3)
    parts = getattr(model, NAME)
    before = weights_of(model).clone()
    with parts.with_successors(3.0):
        assert torch.allclose(weights_of(model), 3 * before)
    assert torch.equal(weights_of(model), before)
    parts.multiply_successors(2.0)
    assert torch.equal(weights_of(model), 2 * before)


def test_figures_among_some_items_leave_out_other_items_and_other_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = np.array([0, 1, 2, 0], dtype=np.int32)
    histories = Histories(
        np.zeros(4, dtype=int), np.zeros(4, dtype=int), np.zeros(0, dtype=np.int32), np.zeros(0, dtype=int)
    )
    allowed = np.array([True, True, True, False])
    data = Validation(histories, targets, allowed, False, "trie", np.ones(4, dtype=np.int64), None, None)

    def lists(_task: Any, _setup: Any, given: Validation, _seen: Any) -> Callable[[Any], NDArray[np.int32]]:
        best = np.array([2, 3, 1, 0], dtype=np.int32)
        return lambda _model: np.tile(best[given.is_allowed[best]], (4, 1))

    monkeypatch.setattr(scoring, "_item_lists", lists)
    task: Any = SimpleNamespace(validation=data, setup=object())
    everything, some = ndcg_of(task), ndcg_of(task, np.array([True, True, False, True]))
    assert everything is not None
    assert some is not None
    at = 1 / np.log2(np.arange(2, 5))  # of ranks 1, 2 and 3
    assert everything(None) == pytest.approx([at[2], at[1], at[0], at[2]])
    assert some(None) == pytest.approx([at[1], at[0], at[1]])


def test_a_result_from_elsewhere_has_the_factor_though_it_holds_only_trained_weights(tmp_path: Path) -> None:
    trained, start = model_with(2), model_with(2)
    getattr(trained, NAME).multiply_successors(4.0)
    write_weights(tmp_path / TRAINED, trainable(trained))
    pack: Any = SimpleNamespace(folder=tmp_path, model=lambda _task: SimpleNamespace(rows=None, model=start))
    task: Any = SimpleNamespace(setup=object())

    loaded = Result(pack, {SUCCESSOR_FACTOR: 4.0}, []).model(task).model

    assert getattr(loaded, NAME).successor_factor.item() == 4.0
    assert torch.equal(weights_of(loaded), weights_of(trained))
