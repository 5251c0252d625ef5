"""A small training with real parts: rows of four users, a tiny decoder, and a validation by its loss."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semconv.progress import Silent
from semconv.settings.tasks import TaskSettings
from semconv.settings.tuning import TuningSettings
from semconv.tasks.padded import EpochRows
from semconv.tasks.plan import plan_epoch
from semconv.tasks.rows import RowBuilder, epoch_rows
from semconv.tuning.batches import Batch, collate
from semconv.tuning.choices import CodeChoices
from semconv.tuning.code_rows import LAYERS, CodeRows
from semconv.tuning.form import TokenForm
from semconv.tuning.loss import SummedLoss
from semconv.tuning.model import prepare, trainable
from semconv.tuning.train import Training, tune
from semconv.tuning.validation_score import Validate, ValidationScore
from tests.worlds import prompts as case

TASKS = TaskSettings(negative_share=0.5, late_position_share=0.5)
SETTINGS = TuningSettings(
    learning_rate=5e-3,
    history_loss=0.5,
    epochs=3,
    batch_tokens=256,
    dropout=0.2,
    checkpoint_seconds=0,  # after every step
    patience=2,
    lora_dropout=0.2,
)


class Remarks(Silent):
    """Keeps the progress lines."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def batch_loss(
    model: Any, batch: Batch, history_weight: float = 0.0, choices: CodeChoices | None = None
) -> tuple[torch.Tensor, float]:
    """Return the loss of one batch alone, and the mean cross entropy over its label tokens."""
    summed = SummedLoss(model, choices, history_weight)
    sums, counts = summed(batch), summed.counts([batch])
    return summed.weighted(sums, counts), float(sums.label.detach() / counts.label)


class Case:
    """One training, from the start or from the checkpoint in its folder."""

    def __init__(self, folder: Path, settings: TuningSettings = SETTINGS, *, tied: bool = False) -> None:
        self.folder, self.settings = folder, settings
        model, self.tokenizer, self.level_tokens = case.coded(tied=tied)
        self.encoder = case.encoder_of(self.tokenizer, self.level_tokens)
        self.data = case.small_data(self.encoder, TASKS)
        self.model = prepare(model, self.level_tokens, settings)
        self.code_rows: CodeRows | None = None
        if settings.code_start in LAYERS:
            books = np.random.default_rng(0).standard_normal((case.LEVELS, case.CODES, 5)).astype(np.float32)
            self.code_rows = CodeRows(self.model, self.level_tokens, books, LAYERS[settings.code_start], settings.seed)
        self.rows: Callable[[int], EpochRows] = lambda epoch: epoch_rows(
            RowBuilder(self.encoder, self.data, TASKS),
            plan_epoch(self.data, TASKS, epoch, 6),
            np.random.default_rng(epoch),
        )
        self.validate: Validate | None = lambda model: ValidationScore(self.score(model))
        self.choices: CodeChoices | None = None
        self.remarks = Remarks()

    @torch.no_grad()
    def score(self, model: Any) -> float:
        loss, _ = batch_loss(model, collate(self.rows(99), 0))
        return 1.0 / (1.0 + float(loss))

    def run(self, **more: Any) -> dict[str, Any]:
        training = Training(TokenForm(self.rows, 0, self.choices), self.validate, self.folder, self.remarks, **more)
        return tune(self.model, training, self.settings)

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: parameter.detach().clone() for name, parameter in trainable(self.model).items()}


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class EndingProgress(Silent):
    """Ends the training at a step: its progress bar is called in the middle of an epoch."""

    def __init__(self, step: int, end: Callable[[], None] = kill) -> None:
        self.left, self.end = step, end

    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> Any:
        inner, outer = super().task(label, total, unit, done), self

        class Bar:
            def __enter__(self) -> Bar:
                inner.__enter__()
                return self

            def __exit__(self, *_: object) -> None:
                """Nothing to close."""

            def advance(self, amount: float, note: str = "") -> None:
                outer.left -= 1
                if outer.left == 0:
                    outer.end()

        return Bar()
