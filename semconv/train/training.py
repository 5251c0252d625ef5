"""Train a model from its task. The stage in a project and ``python -m semconv.train`` both call :func:`train`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.backbone.machine import limit_kernels
from semconv.errors import InputError
from semconv.item_head.parts import NAME
from semconv.progress import Progress
from semconv.tasks.source import PromptSource
from semconv.train.calibration import ServedScore, successor_factor
from semconv.train.group import Leader
from semconv.train.scoring import ndcg_of
from semconv.train.task import StartModel, TuningTask
from semconv.tuning.train import Training, tune
from semconv.tuning.validation_score import SUCCESSOR_FACTOR

_USERS_OF_A_FACTOR = 4_000  # validation users on whom each validation during a training chooses the factor
TOO_LONG = "prompts_too_long"  # number of left-out prompts of each epoch, among the figures


@dataclass(frozen=True)
class Trained:
    """A trained model on the CPU, and the figures of its training."""

    model: Any
    figures: dict[str, Any]


def train(task: TuningTask, start: StartModel, folder: Path, leader: Leader, progress: Progress) -> Trained:
    """Train the model ``start``, with all processes of ``leader``. Continue from the last checkpoint in ``folder``.

    Returns:
        the model with the weights that ``tuning.train.tune`` chooses, and the figures of ``tuning.train.tune`` with the number of
        left-out prompts.
    Raises:
        InputError: the tasks gave no training sample.
        CheckFailedError: the loss or the gradient is not finite.
    """
    limit_kernels()
    leader.start(task)
    source = PromptSource(task.encoder, task.data, task.tasks, task.history_length, progress)
    ndcg = ndcg_of(task)
    some = known_ndcg(task, _USERS_OF_A_FACTOR)
    score = None if ndcg is None else ServedScore(ndcg, some, task.tuning.successor_factor)
    training = Training(task.form(source), score, folder, progress)
    figures = tune(start.model, training, task.tuning, leader.processes)
    if figures["samples"] == 0:
        raise InputError(
            "the tasks gave no training sample in any epoch; raise tasks.negative_share, tasks.text_share or"
            " tasks.query_share"
        )
    if start.rows is not None:
        start.rows.fold()
    factor = weigh_successors(task, start.model, known_ndcg(task), progress)
    return Trained(start.model.to("cpu"), {**figures, SUCCESSOR_FACTOR: factor, TOO_LONG: dict(source.too_long)})


def known_ndcg(task: TuningTask, most_users: int = 0) -> Callable[[Any], NDArray[np.float64]] | None:
    """Return what ``ndcg_of`` returns, among items with training interactions, to choose the factor of the successors.

    Return None without validation users, and for a model that does not score successors.
    """
    if task.setup is None or not task.setup.num_latest:
        return None
    return ndcg_of(task, task.setup.counts > 0, most_users)


def weigh_successors(
    task: TuningTask, model: Any, ndcg: Callable[[Any], NDArray[np.float64]] | None, progress: Progress
) -> float | None:
    """Multiply the weights of the successors by the factor of the settings, or by the best one on validation users.

    Return the factor; 1 without validation users, and None for a model that does not score successors.
    """
    if task.setup is None or not task.setup.num_latest:
        return None
    factor = task.tuning.successor_factor
    if factor is None:
        factor = 1.0 if ndcg is None else successor_factor(model, ndcg)
        if factor != 1.0:
            progress.say(
                f"the counts of successors weigh {factor:g} times as much, which is better on validation users"
            )
    getattr(model, NAME).multiply_successors(factor)
    return factor
