"""Training: budgets, early stopping, and a killed run that continues with the same bits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semconv.backbone.forward import output_matrix
from semconv.errors import CheckFailedError, InputError
from semconv.runs.files import BEST_WEIGHTS, STEPS, TUNING_STATE
from semconv.tuning.step import schedule
from semconv.tuning.step_log import read_steps
from semconv.tuning.validation_score import ValidationScore
from tests.worlds.command import KILLED, Commands
from tests.worlds.tuning.training import SETTINGS, Case

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def steps(folder: Path) -> list[dict[str, Any]]:
    """Read the log without the seconds of each step."""
    lines = [json.loads(line) for line in (folder / STEPS).read_text().splitlines()]
    assert all(line.pop("seconds") > 0 for line in lines)
    return lines


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Case, dict[str, Any]]]:
    made = {}
    for mode in ("full", "lora"):
        made_case = Case(tmp_path_factory.mktemp(mode), replace(SETTINGS, mode=mode, checkpoint_seconds=10_000))
        made[mode] = (made_case, made_case.run())
    return made


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    times = {"seconds": 0, "processor_seconds": 0}
    return {**ours, **times} == {**theirs, **times}


def require_equal(resumed: Case, other: Case) -> None:
    expected = other.weights()
    for name, weight in resumed.weights().items():
        assert torch.equal(weight, expected[name]), name
    assert steps(resumed.folder) == steps(other.folder)
    assert [row["step"] for row in steps(resumed.folder)] == list(range(1, len(steps(other.folder)) + 1))


def breaking(function: Any, calls: int) -> Any:
    left = [calls]

    def wrapped(argument: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return function(argument)

    return wrapped


@pytest.mark.parametrize(
    ("mode", "seconds"), [("full", 10_000), ("lora", 0)]
)  # checkpoints at the ends of epochs, after every step
def test_an_interrupted_training_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: dict[str, tuple[Case, dict[str, Any]]], mode: str, seconds: int
) -> None:
    settings = replace(SETTINGS, mode=mode, checkpoint_seconds=seconds)
    first = Case(tmp_path, settings)
    first.rows = breaking(first.rows, 2)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    second = Case(tmp_path, settings)
    second.validate = breaking(second.validate, 1)
    with pytest.raises(KeyboardInterrupt):
        second.run()
    last = Case(tmp_path, settings)
    figures = last.run()
    require_equal(last, undisturbed[mode][0])
    assert same(figures, undisturbed[mode][1])
    again = Case(tmp_path, settings)  # a finished training is not repeated
    again.rows = breaking(again.rows, 1)
    assert same(again.run(), figures)
    require_equal(again, undisturbed[mode][0])


_KILLED = """
import sys
from pathlib import Path
from tests.worlds.tuning.training import Case, EndingProgress

case = Case(Path(sys.argv[1]))
case.remarks = EndingProgress(step=7)
case.run()
"""


def test_a_killed_process_ends_with_the_same_bits(
    commands: Commands, tmp_path: Path, undisturbed: dict[str, tuple[Case, dict[str, Any]]]
) -> None:
    done = commands.program(_KILLED, tmp_path)
    assert done.status == KILLED, done.stderr
    assert 0 < len(steps(tmp_path)) < len(steps(undisturbed["full"][0].folder))
    last = Case(tmp_path)
    assert same(last.run(), undisturbed["full"][1])
    require_equal(last, undisturbed["full"][0])


def test_a_kill_between_the_last_sample_and_its_validation_keeps_the_validation(tmp_path: Path) -> None:
    settings = replace(SETTINGS, max_samples=60)
    whole = Case(tmp_path / "whole", settings)
    whole.folder.mkdir()
    expected = whole.run()
    assert len(expected["validations"]) == 1
    assert 60 <= expected["samples"] < 60 + 100
    first = Case(tmp_path, settings)
    first.validate = breaking(first.validate, 1)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    last = Case(tmp_path, settings)
    assert same(last.run(), expected)
    require_equal(last, whole)


def test_a_cut_last_line_of_the_log_and_steps_to_be_repeated_are_dropped(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=1)
    made = Case(tmp_path, settings)
    made.run()
    lines = (tmp_path / STEPS).read_bytes()
    (tmp_path / STEPS).write_bytes(lines + lines.splitlines(keepends=True)[-1] + b'{"step": 9')
    Case(tmp_path, settings).run()
    assert (tmp_path / STEPS).read_bytes() == lines


@pytest.mark.parametrize("budget", [1, 90])
def test_a_budget_of_samples_ends_at_the_next_step(tmp_path: Path, budget: int) -> None:
    figures = Case(tmp_path, replace(SETTINGS, max_samples=budget)).run()
    counts = [row["samples"] for row in steps(tmp_path)]
    assert sum(counts) == figures["samples"] >= budget
    assert sum(counts[:-1]) < budget
    assert figures["steps"] == len(counts)


@pytest.mark.parametrize(
    ("scores", "epochs", "kept"),
    [
        ([0.1, 0.3, 0.2, 0.29, 0.9], 4, 2),  # 0.2 and 0.29 are worse
        ([0.1, 0.3, 0.2, 0.3, 0.9], 4, 4),  # of equal scores the later one
        ([0.3, 0.2999, 0.2998, 0.9], 3, 3),  # equal within the noise, but no better
        ([0.3, 0.299, 0.2980, 0.9], 3, 2),  # compared with the best score, not with the one before
        ([0.0, 0.0, 0.0, 0.9], 3, 3),
    ],
)
def test_early_stopping_keeps_the_latest_of_the_best_weights(
    tmp_path: Path, scores: list[float], epochs: int, kept: int
) -> None:
    given = iter(scores)
    seen: list[dict[str, torch.Tensor]] = []
    made = Case(tmp_path, replace(SETTINGS, epochs=9, patience=2))

    def validate(model: Any) -> ValidationScore:
        assert not model.training
        seen.append(made.weights())
        return ValidationScore(next(given))

    made.validate = validate
    figures = made.run()
    assert figures["epochs"] == epochs
    assert (figures["best_epoch"], figures["best_ndcg"]) == (kept, scores[kept - 1])
    for name, weight in made.weights().items():
        assert torch.equal(weight, seen[kept - 1][name])
    for other in {*range(epochs)} - {kept - 1}:
        assert any(not torch.equal(seen[other][name], weight) for name, weight in made.weights().items())


def test_without_validation_the_last_weights_stay(tmp_path: Path) -> None:
    made = Case(tmp_path, replace(SETTINGS, epochs=1))
    made.validate = None
    figures = made.run()
    assert figures["validations"] == []
    assert figures["best_epoch"] == -1
    assert figures["best_ndcg"] is None
    assert not (tmp_path / BEST_WEIGHTS).exists()


def test_validation_every_second_epoch_and_at_the_end(tmp_path: Path) -> None:
    figures = Case(tmp_path, replace(SETTINGS, validate_every=2)).run()
    assert [row["epoch"] for row in figures["validations"]] == [2, 3]


def test_training_learns_and_dropout_acts(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    dropped = Case(tmp_path, replace(SETTINGS, epochs=4, patience=4))
    plain = Case(tmp_path / "plain", replace(SETTINGS, epochs=4, patience=4, dropout=0.0))
    for made in (dropped, plain):
        before = made.score(made.model)
        made.run()
        assert made.score(made.model) > 1.2 * before
    assert steps(dropped.folder)[0]["loss"] != steps(plain.folder)[0]["loss"]


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_a_loss_or_a_gradient_that_is_not_finite_ends_the_training(tmp_path: Path, broken: str) -> None:
    made = Case(tmp_path)
    if broken == "loss":
        with torch.no_grad():
            made.model.get_input_embeddings().weight.fill_(float("nan"))
    else:
        made.model.get_input_embeddings().weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(CheckFailedError, match=r"(loss|gradient) is (nan|inf) at step 0; lower tuning.learning_rate"):
        made.run()
    assert not (tmp_path / TUNING_STATE).exists()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    Case(tmp_path, replace(SETTINGS, epochs=1)).run()
    (tmp_path / TUNING_STATE).write_bytes(b"\x00" * 40)
    with pytest.raises(InputError, match=r"checkpoint.safetensors: damaged .* delete the file to restart"):
        Case(tmp_path, SETTINGS).run()


@pytest.mark.parametrize("mode", ["full", "lora"])
@pytest.mark.parametrize("tied", [False, True])
def test_rows_of_code_tokens_change_in_both_matrices_and_with_lora_no_others(
    tmp_path: Path, mode: str, tied: bool
) -> None:
    settings = replace(SETTINGS, mode=mode, max_samples=1, weight_decay=0.1, history_loss=0.0)
    made = Case(tmp_path, settings, tied=tied)
    made.validate = None
    before = matrices(made.model)
    frozen = {name: value.detach().clone() for name, value in made.model.named_parameters() if not value.requires_grad}
    made.run()
    after = matrices(made.model)
    codes = np.zeros(len(before[0]), dtype=bool)
    codes[made.level_tokens.ravel()] = True
    for old, new in zip(before, after, strict=True):
        changed = (old != new).any(dim=1).numpy()
        assert changed[codes].all()
        assert mode == "full" or not changed[~codes].any()
    for name, value in made.model.named_parameters():
        assert name not in frozen or torch.equal(frozen[name], value)


def matrices(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the input and output matrix as the model applies them."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    with torch.no_grad():
        output = output_matrix(model).clone()
        given = inner.get_input_embeddings()(torch.arange(len(output))).clone()
    return given, output


def test_the_schedule_rises_to_one_and_ends_at_zero() -> None:
    assert schedule(0.1, 0.1) == pytest.approx(1.0)
    assert 0 < schedule(0.0, 0.1) < 0.02
    assert schedule(1.0, 0.1) == pytest.approx(0.0, abs=1e-12)
    assert schedule(1.2, 0.1) == pytest.approx(0.0, abs=1e-12)
    assert schedule(0.0, 0.0) == pytest.approx(1.0)
    rising = [schedule(share, 0.2) for share in np.linspace(0, 0.2, 30)]
    falling = [schedule(share, 0.2) for share in np.linspace(0.2, 1, 90)]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)


class Clock:
    """A clock that moves one second at each call."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_budget_of_minutes_counts_over_resumes_and_ends_at_the_lowest_rate(tmp_path: Path) -> None:
    settings = replace(SETTINGS, epochs=50, patience=50, max_minutes=1.0)
    whole = Case(tmp_path / "whole", settings)
    whole.folder.mkdir()
    figures = whole.run(clock=Clock())
    assert not figures["is_reproducible"]
    assert (
        whole.remarks.said[0] == "tuning.max_minutes limits this run by the clock, so its weights are not reproducible"
    )
    assert 60 <= figures["seconds"] < 70
    assert 1 < figures["epochs"] < 50
    rates = [line["learning_rate"] for line in steps(whole.folder)]
    assert max(rates) > 0.9 * settings.learning_rate
    assert rates[-1] < 0.02 * settings.learning_rate
    assert figures["validations"][-1]["step"] == figures["steps"]
    first = Case(tmp_path, settings)
    first.rows = breaking(first.rows, 2)
    with pytest.raises(KeyboardInterrupt):
        first.run(clock=Clock())
    last = Case(tmp_path, settings)
    resumed = last.run(clock=Clock())
    assert 60 <= resumed["seconds"] < 70
    assert resumed["steps"] < figures["steps"] + 3
    assert last.run(clock=Clock())["steps"] == resumed["steps"]


def test_without_minutes_a_run_is_reproducible(tmp_path: Path) -> None:
    made = Case(tmp_path, replace(SETTINGS, epochs=1))
    assert made.run()["is_reproducible"]
    assert not any("reproducible" in line for line in made.remarks.said)


def test_the_log_has_a_line_a_step_with_its_figures(tmp_path: Path) -> None:
    made = Case(tmp_path, replace(SETTINGS, epochs=2))
    figures = made.run()
    lines = read_steps(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, figures["steps"] + 1))
    assert {line["epoch"] for line in lines} == {0, 1}
    assert all(
        set(line)
        == {"step", "epoch", "loss", "losses", "learning_rate", "gradient_norm", "samples", "tokens", "seconds"}
        for line in lines
    )
    assert sum(line["samples"] for line in lines) == figures["samples"]
    assert sum(line["seconds"] for line in lines) <= figures["seconds"] + 1e-2
    assert all(line["tokens"] <= max(SETTINGS.batch_tokens, made.rows(0).lengths.max()) for line in lines)


def test_processor_time_is_that_of_training_alone(tmp_path: Path) -> None:
    spent = {"seconds": 0.0}

    def costing(function: Any, seconds: float) -> Any:
        def wrapped(argument: Any) -> Any:
            spent["seconds"] += seconds
            return function(argument)

        return wrapped

    made = Case(tmp_path, replace(SETTINGS, epochs=3, patience=3, checkpoint_seconds=10_000))
    made.rows, made.validate = costing(made.rows, 2.0), costing(lambda _: ValidationScore(0.5), 100.0)
    figures = made.run(processor_clock=lambda: spent["seconds"])
    assert spent["seconds"] == 3 * (2.0 + 100.0)
    assert figures["processor_seconds"] == 3 * 2.0
    again = Case(tmp_path, made.settings)
    assert again.run()["processor_seconds"] == 3 * 2.0  # saved with the checkpoint
