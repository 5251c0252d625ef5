"""One update: accumulated batches, checkpointed layers, half precision, and figures that are not finite."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from semconv.errors import CheckFailedError
from semconv.runs.files import STEPS, TUNING_STATE
from semconv.settings.tuning import TuningSettings
from semconv.tasks.padded import EpochRows
from semconv.tasks.registry import TASK_NAMES
from semconv.tuning.checkpoint import Counters, load_state
from semconv.tuning.choices import CodeChoices
from semconv.tuning.form import TokenForm
from semconv.tuning.model import trainable
from semconv.tuning.processes import Processes
from semconv.tuning.step import StepFigures, Stepper
from semconv.tuning.validation_score import ValidationScore
from tests.worlds import prompts as case
from tests.worlds.tuning.training import SETTINGS, Case

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
PLAIN = replace(SETTINGS, dropout=0.0, lora_dropout=0.0)


def updated(
    folder: Path, settings: TuningSettings, batches: list[EpochRows], *, over: str = "vocabulary", tied: bool = False
) -> tuple[StepFigures, dict[str, torch.Tensor]]:
    """Return the figures of one update and the clipped gradient of the optimizer."""
    made = Case(folder, settings, tied=tied)
    choices = CodeChoices(made.level_tokens, case.item_codes(40, (11, 12))[1]) if over == "trie" else None
    stepper = Stepper(made.model, TokenForm(made.rows, 0, choices), settings)
    figures = stepper.step(batches, 0, 1.0)
    gradients = {
        name: stepper.optimizer.state[weight]["exp_avg"] / (1.0 - 0.9) for name, weight in trainable(made.model).items()
    }
    return figures, gradients


def require_close(first: tuple[StepFigures, Any], second: tuple[StepFigures, Any]) -> None:
    assert first[0].loss == pytest.approx(second[0].loss, abs=1e-5)
    assert first[0].gradient_norm == pytest.approx(second[0].gradient_norm, rel=1e-4)
    assert first[0].by_task == pytest.approx(second[0].by_task, abs=1e-5)
    assert first[0].samples == second[0].samples
    assert set(first[1]) == set(second[1])
    for name, gradient in first[1].items():
        torch.testing.assert_close(gradient, second[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("over", ["vocabulary", "trie"])
def test_accumulated_batches_equal_one_batch_of_their_union(tmp_path: Path, mode: str, over: str) -> None:
    settings = replace(PLAIN, mode=mode)
    rows = Case(tmp_path, settings).rows(0)
    assert len(rows[:2].padded(0).history_tokens)  # the second mean has another count in each batch
    whole = updated(tmp_path, settings, [rows], over=over, tied=mode == "full")
    parts = updated(tmp_path, settings, [rows[:2], rows[2:3], rows[3:]], over=over, tied=mode == "full")
    require_close(parts, whole)
    wrong = updated(tmp_path, settings, [rows[:2]], over=over, tied=mode == "full")
    assert abs(wrong[0].loss - whole[0].loss) > 1e-3


def test_accumulate_is_the_number_of_batches_a_step(tmp_path: Path) -> None:
    logs = []
    for accumulate in (1, 3):
        folder = tmp_path / str(accumulate)
        folder.mkdir()
        made = Case(folder, replace(PLAIN, accumulate=accumulate, epochs=1))
        made.run()
        logs.append([json.loads(line) for line in (folder / STEPS).read_text().splitlines()])
    ones, threes = logs
    assert len(threes) == -(-len(ones) // 3)
    for step, line in enumerate(threes):
        of = ones[3 * step : 3 * step + 3]
        assert line["samples"] == sum(one["samples"] for one in of)
        assert line["tokens"] == sum(one["tokens"] for one in of)
    resumed = Case(tmp_path, replace(PLAIN, accumulate=3, epochs=1))
    resumed.validate = interrupt
    with pytest.raises(KeyboardInterrupt):
        resumed.run()
    again = Case(tmp_path, replace(PLAIN, accumulate=3, epochs=1))
    again.run()
    assert [json.loads(line)["loss"] for line in (tmp_path / STEPS).read_text().splitlines()] == [
        line["loss"] for line in threes
    ]


def interrupt(_: Any) -> ValidationScore:
    raise KeyboardInterrupt


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("tied", [False, True])
def test_checkpointed_layers_give_the_same_loss_and_gradients(tmp_path: Path, mode: str, tied: bool) -> None:
    settings = replace(SETTINGS, mode=mode)  # with dropout: recomputed layers must draw the same
    rows = Case(tmp_path, settings).rows(0)
    plain = updated(tmp_path, settings, [rows[:3], rows[3:]], tied=tied)
    require_close(
        updated(tmp_path, replace(settings, gradient_checkpointing=True), [rows[:3], rows[3:]], tied=tied), plain
    )


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_checkpointing_computes_a_layer_twice(tmp_path: Path, mode: str) -> None:
    calls = {}
    for checkpointing in (False, True):
        made = Case(tmp_path, replace(SETTINGS, mode=mode, gradient_checkpointing=checkpointing))
        inner = made.model.get_base_model() if mode == "lora" else made.model
        counted: list[int] = []
        inner.get_decoder().layers[0].mlp.register_forward_pre_hook(lambda *_, into=counted: into.append(1))
        Stepper(made.model, TokenForm(made.rows, 0), made.settings).step([made.rows(0)], 0, 1.0)
        calls[checkpointing] = len(counted)
        made.model.eval()
        made.score(made.model)
        assert len(counted) == calls[checkpointing] + 1  # a search computes each layer once
    assert calls == {False: 1, True: 2}


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_half_precision_learns_with_master_weights_in_full(tmp_path: Path, mode: str) -> None:
    settings = TuningSettings(
        mode=mode, learning_rate=5e-3, dtype="bfloat16", epochs=2, batch_tokens=256, accumulate=2,
        gradient_checkpointing=True, patience=2,
    )  # fmt: skip
    made = Case(tmp_path, settings)
    made.run()
    losses = [json.loads(line)["loss"] for line in (tmp_path / STEPS).read_text().splitlines()]
    assert all(loss == loss for loss in losses)
    assert sum(losses[-3:]) < sum(losses[:3])
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in made.weights().values())
    full = replace(settings, dtype="float32")
    other = Case(tmp_path, full)
    rows = other.rows(0)
    half_step, full_step = (updated(tmp_path, of, [rows]) for of in (settings, full))
    assert half_step[0].loss == pytest.approx(full_step[0].loss, rel=0.02)
    assert half_step[0].loss != full_step[0].loss
    assert all(gradient.dtype == torch.float32 for gradient in half_step[1].values())


def test_losses_by_task_are_those_of_the_tasks_alone(tmp_path: Path) -> None:
    made = Case(tmp_path, PLAIN)
    rows = made.rows(4)  # an epoch that draws all four
    figures, _ = updated(tmp_path, PLAIN, [rows])
    assert set(figures.by_task) == set(TASK_NAMES)
    tasks = rows.padded(0).sample_tasks
    counts = {task: int((tasks == index).sum()) for index, task in enumerate(TASK_NAMES)}
    assert sum(counts.values()) == figures.samples
    mean = sum(counts[task] * loss for task, loss in figures.by_task.items()) / figures.samples
    assert mean == pytest.approx(figures.loss, rel=1e-5)
    for index, task in enumerate(TASK_NAMES):
        pure = [at for at in range(len(rows)) if (rows[at].padded(0).sample_tasks == index).all()]
        if pure:
            alone, _ = updated(tmp_path, PLAIN, [rows[pure]])
            assert set(alone.by_task) == {task}
            assert alone.by_task[task] == pytest.approx(alone.loss, rel=1e-6)


def test_a_gradient_that_breaks_in_the_middle_keeps_the_checkpoint_before_it(tmp_path: Path) -> None:
    made = Case(tmp_path, replace(SETTINGS, epochs=1))  # with a checkpoint after every step
    calls: list[int] = []

    def breaking(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return gradient * float("inf") if len(calls) == 4 else gradient

    made.model.get_input_embeddings().weight.register_hook(breaking)
    with pytest.raises(CheckFailedError, match=r"gradient is (nan|inf) at step 3; lower tuning.learning_rate"):
        made.run()
    assert len((tmp_path / STEPS).read_text().splitlines()) == 3
    after = Case(tmp_path, replace(SETTINGS, epochs=1))
    counters: Counters = load_state(
        tmp_path, after.model, Stepper(after.model, TokenForm(after.rows, 0), after.settings).optimizer, Processes()
    )
    assert counters.step == 3
    assert all(torch.equal(weight, made.weights()[name]) for name, weight in after.weights().items())
    assert all(weight.isfinite().all() for weight in after.weights().values())
    assert (tmp_path / TUNING_STATE).exists()
    after.run()  # continues from the checkpoint
    assert len((tmp_path / STEPS).read_text().splitlines()) > 3
