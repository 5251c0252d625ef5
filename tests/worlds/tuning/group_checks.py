"""Trainings in two processes and in one, and the comparison of both."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from semconv.runs.files import BEST_WEIGHTS, TRAINING_CHART, TUNING_STATE
from semconv.settings.tuning import TuningSettings
from semconv.tuning.step_log import read_steps
from tests.worlds.tuning.group import PLAIN, RESUMED, WEIGHTS, stopping
from tests.worlds.tuning.launch import launched, losses
from tests.worlds.tuning.training import Case

QUICK = ("ddp-full", "fsdp-resumed")  # part of every test run


def trained(root: Path, *names: str) -> Path:
    """Run these trainings in two processes under torchrun; first begin those to be resumed in one."""
    launched("--module", "tests.worlds.tuning.group", str(begun(root, *names)), *names)
    return root


def begun(root: Path, *names: str) -> Path:
    """Begin in one process those of these trainings that are to be resumed."""
    for name in set(names) & set(RESUMED):
        (root / name).mkdir()
        first = Case(root / name, RESUMED[name][0])
        first.rows = stopping(first)
        with pytest.raises(KeyboardInterrupt):
            first.run()
        assert (root / name / TUNING_STATE).exists()
    return root


def alone(folder: Path, settings: TuningSettings = PLAIN, tied: bool = False) -> Case:
    folder.mkdir()
    made = Case(folder, settings, tied=tied)
    made.run()
    return made


def require_same(folder: Path, other: Case) -> None:
    ours, theirs = losses(folder), losses(other.folder)
    assert ours[0] == pytest.approx(theirs[0], abs=1e-5)
    assert ours == pytest.approx(theirs, abs=2e-4)  # rounding errors grow with the steps
    ours_first, theirs_first = (read_steps(path)[0] for path in (folder, other.folder))
    assert ours_first["gradient_norm"] == pytest.approx(theirs_first["gradient_norm"], rel=1e-3)
    assert ours_first["losses"] == pytest.approx(theirs_first["losses"], abs=1e-4)
    assert ours_first["samples"] == theirs_first["samples"]


def require_same_weights(folder: Path, other: Case) -> None:
    expected, weights = other.weights(), load_file(folder / WEIGHTS)
    assert set(weights) == set(expected)
    for key, weight in weights.items():
        assert weight.shape == expected[key].shape
        assert float((weight - expected[key]).abs().mean()) < 1e-4  # each update is about 1e-3
    assert (folder / TRAINING_CHART).exists()
    assert (folder / BEST_WEIGHTS).exists()
