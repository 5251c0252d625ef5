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

from semconv.data.calendar import Calendar
from semconv.data.histories import Histories
from semconv.item_head.files import ItemFile
from semconv.item_head.parts import NAME, ItemParts, PartsShape
from semconv.item_head.setup import ItemSetup
from semconv.item_head.texts import TextBasis
from semconv.progress import Silent
from semconv.train import scoring
from semconv.train.calibration import ServedScore, successor_factor
from semconv.train.pack import write_weights
from semconv.train.result import TRAINED, Result
from semconv.train.scoring import ndcg_of
from semconv.train.training import weigh_successors
from semconv.train.validation import Validation
from semconv.tuning.model import trainable
from semconv.tuning.validation_score import SUCCESSOR_FACTOR, ValidationScore


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


def test_a_training_is_scored_with_the_factor_that_its_lists_will_have() -> None:
    model, everything, known = model_with(2), [], []
    before = weights_of(model).clone()
    score = ServedScore(peak_at(8.0, everything), peak_at(2.0, known))
    assert score(model) == ValidationScore(pytest.approx(0.48), 2.0)  # chosen among known items
    assert known == pytest.approx([1, 2, 4])
    assert everything == pytest.approx([2])
    fixed = ServedScore(peak_at(8.0, []), peak_at(2.0, []), 8.0)
    assert fixed(model) == ValidationScore(pytest.approx(0.5), 8.0)
    assert torch.equal(weights_of(model), before)
    assert ServedScore(lambda _: np.array([0.25, 0.75]), None)(model) == ValidationScore(0.5)


def weigh(model: torch.nn.Module, setting: float | None, ndcg: Callable[[Any], Any] | None = None) -> float | None:
    tuning = SimpleNamespace(successor_factor=setting)
    task: Any = SimpleNamespace(setup=SimpleNamespace(num_latest=2), tuning=tuning)
    return weigh_successors(task, model, ndcg, Silent())


@pytest.mark.parametrize(("setting", "factor"), [(None, 1.0), (2.0, 2.0), (0.0, 0.0)])
def test_a_factor_of_the_settings_is_applied(setting: float | None, factor: float) -> None:
    model = model_with(2)
    before = weights_of(model).clone()
    assert weigh(model, setting) == factor
    assert torch.equal(weights_of(model), factor * before)


def continued(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model from which a tuning that continues this one starts."""
    file = ItemFile.of(
        getattr(model, NAME), np.ones(3, dtype=np.int64), Calendar(0, 0), TextBasis.of(np.zeros((0, 1), np.float32))
    )
    none: Any = None
    tokens, texts, counts = np.zeros((3, 4), dtype=np.int64), np.zeros((3, 0), dtype=np.float32), file.counts
    setup = ItemSetup(tokens, texts, counts, file.calendar, file.basis, file, file.num_latest, none)
    later = torch.nn.Module()
    embeddings = torch.nn.Embedding(2, 4)
    later.get_input_embeddings = later.get_output_embeddings = lambda: embeddings
    setup.attach(later, seed=0)
    return later


def test_a_chain_of_tunings_starts_each_time_from_the_weights_as_trained() -> None:
    model = model_with(2)
    trained = weights_of(model).clone()
    for setting, ndcg, factor in ((3.0, None, 3.0), (None, peak_at(4.0, []), 4.0), (None, peak_at(4.0, []), 4.0)):
        assert weigh(model, setting, ndcg) == factor
        parts = getattr(model, NAME)
        assert parts.successor_factor.item() == factor
        assert torch.allclose(weights_of(model), factor * trained)
        model = continued(model)
        assert getattr(model, NAME).successor_factor.item() == 1.0
        assert torch.allclose(weights_of(model), trained)


def test_after_a_factor_of_0_a_tuning_starts_without_weights() -> None:
    model = model_with(2)
    weigh(model, 0.0)
    model = continued(model)
    parts = getattr(model, NAME)
    assert parts.successor_factor.item() == 1.0
    assert not weights_of(model).any()
    with torch.no_grad():
        parts.successor_start.fill_(1.0)  # the continued training
    weigh(model, 2.0)
    assert parts.successor_factor.item() == 2.0


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


def test_figures_of_some_users_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = np.arange(50, dtype=np.int32) % 5
    histories = Histories(np.arange(50), np.ones(50, dtype=int), targets, np.zeros(50, dtype=int))
    data = Validation(histories, targets, np.ones(5, dtype=bool), False, "trie", np.ones(5, dtype=np.int64), None, None)

    def lists(_task: Any, _setup: Any, given: Validation, _seen: Any) -> Callable[[Any], NDArray[np.int32]]:
        own = [given.histories.of_users(np.array([user])).items for user in range(len(given.targets))]
        return lambda _model: np.stack([np.append(items, (items + 1) % 5) for items in own])

    monkeypatch.setattr(scoring, "_item_lists", lists)
    task: Any = SimpleNamespace(validation=data, setup=object(), tuning=SimpleNamespace(seed=0))
    everything, some = ndcg_of(task, most_users=50), ndcg_of(task, most_users=20)
    assert everything is not None
    assert some is not None
    assert everything(None) == pytest.approx(np.ones(50))  # each history is the user's own target
    assert some(None) == pytest.approx(np.ones(20))


def test_a_result_from_elsewhere_has_the_factor_though_it_holds_only_trained_weights(tmp_path: Path) -> None:
    trained, start = model_with(2), model_with(2)
    getattr(trained, NAME).multiply_successors(4.0)
    write_weights(tmp_path / TRAINED, trainable(trained))
    pack: Any = SimpleNamespace(folder=tmp_path, model=lambda _task: SimpleNamespace(rows=None, model=start))
    task: Any = SimpleNamespace(setup=object())

    loaded = Result(pack, {SUCCESSOR_FACTOR: 4.0}, []).model(task).model

    assert getattr(loaded, NAME).successor_factor.item() == 4.0
    assert torch.equal(weights_of(loaded), weights_of(trained))
