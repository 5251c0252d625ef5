"""Train a model from its task. The stage in a project and ``python -m semconv.train`` both call :func:`train`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semconv.errors import InputError
from semconv.progress import Progress
from semconv.tasks.source import PromptSource
from semconv.train.group import Leader
from semconv.train.scoring import score_of
from semconv.train.task import StartModel, TuningTask
from semconv.tuning.train import Training, tune

TOO_LONG = "prompts_too_long"  # number of left-out prompts of each epoch, among the figures


@dataclass(frozen=True)
class Trained:
    """A trained model on the CPU, and the figures of its training."""

    model: Any
    figures: dict[str, Any]


def train(task: TuningTask, start: StartModel, folder: Path, leader: Leader, progress: Progress) -> Trained:
    """Train the model ``start``, with all processes of ``leader``. Continue from the last checkpoint in ``folder``.

    Returns:
        the model with the weights of the best validation, and the figures of ``tuning.train.tune`` with the number of
        left-out prompts.
    Raises:
        InputError: the tasks gave no training sample.
        CheckFailedError: the loss or the gradient is not finite.
    """
    leader.start(task)
    source = PromptSource(task.encoder, task.data, task.tasks, task.history_length, progress)
    training = Training(task.form(source), score_of(task), folder, progress)
    figures = tune(start.model, training, task.tuning, leader.processes)
    if figures["samples"] == 0:
        raise InputError(
            "the tasks gave no training sample in any epoch; raise tasks.negative_share, tasks.text_share or"
            " tasks.query_share"
        )
    if start.rows is not None:
        start.rows.fold()
    return Trained(start.model.to("cpu"), {**figures, TOO_LONG: dict(source.too_long)})
