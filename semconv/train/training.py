"""Train a model from its task. The stage in a project and ``python -m semconv.train`` both call :func:`train`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.errors import InputError
from semconv.item_head.parts import NAME, NO_LIMIT
from semconv.progress import Progress
from semconv.tasks.source import PromptSource
from semconv.train.calibration import new_item_weight, successor_factor
from semconv.train.group import Leader
from semconv.train.scoring import ndcg_of
from semconv.train.task import StartModel, TuningTask
from semconv.tuning.train import Training, tune

SUCCESSOR_FACTOR = "successor_factor"  # by which the trained weights of the successors were multiplied, or None
NEW_ITEM_WEIGHT = "new_item_weight"  # number of items that all new items count as together; None for no limit
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
    ndcg = ndcg_of(task)
    score = None if ndcg is None else lambda model: float(ndcg(model).mean())
    training = Training(task.form(source), score, folder, progress)
    figures = tune(start.model, training, task.tuning, leader.processes)
    if figures["samples"] == 0:
        raise InputError(
            "the tasks gave no training sample in any epoch; raise tasks.negative_share, tasks.text_share or"
            " tasks.query_share"
        )
    if start.rows is not None:
        start.rows.fold()
    chosen = {
        SUCCESSOR_FACTOR: weigh_successors(task, start.model, ndcg, progress),
        NEW_ITEM_WEIGHT: weigh_new_items(task, start.model, ndcg, progress),
    }
    return Trained(start.model.to("cpu"), {**figures, **chosen, TOO_LONG: dict(source.too_long)})


def weigh_successors(
    task: TuningTask, model: Any, ndcg: Callable[[Any], NDArray[np.float64]] | None, progress: Progress
) -> float | None:
    """Multiply the weights of the successors by the factor of the settings, or by the best one on validation users.

    Return the factor; 1 without validation users, and None for a model that does not score successors. The weights of a
    continued training have the factor of the settings already, so it is not applied a second time.
    """
    if task.setup is None or not task.setup.num_latest:
        return None
    factor = task.tuning.successor_factor
    if factor is not None and task.data.replay is not None:
        return 1.0
    if factor is None:
        factor = 1.0 if ndcg is None else successor_factor(model, ndcg)
        if factor != 1.0:
            progress.say(
                f"the counts of successors weigh {factor:g} times as much, which is better on validation users"
            )
    getattr(model, NAME).multiply_successors(factor)
    return factor


def weigh_new_items(
    task: TuningTask, model: Any, ndcg: Callable[[Any], NDArray[np.float64]] | None, progress: Progress
) -> float | None:
    """Set the number of items that all new items count as, to that of the settings or to the best on validation users.

    Return the number; None for no limit, and for a model that does not score items. It is chosen under a split in time.
    Otherwise, and without validation users or new items, the model keeps the number that it has: none, or that of the
    tuning that it continues.
    """
    if task.setup is None:
        return None
    parts, wanted = getattr(model, NAME), task.tuning.new_item_weight
    if wanted is None:
        wanted = parts.new_item_weight.item()
        if ndcg is not None and _tells_of_new_items(task):
            wanted = new_item_weight(model, task.item_index, ndcg)
            if wanted != NO_LIMIT:
                number = int(parts.new_shares(task.item_index).sum())
                progress.say(
                    f"the {number:,} items without interactions count as {wanted:g} together, which is better on validation"
                    " users"
                )
    parts.set_new_item_weight(wanted)
    return None if wanted == NO_LIMIT else wanted


def _tells_of_new_items(task: TuningTask) -> bool:
    """Return whether validation lists are those of one day, as on a night, and may hold an item without interactions.

    Leave-one-out asks each user at the last event of the history. Hardly any of the next items is new then, while on a
    night many are. So it would teach a model to hide new items.
    """
    validation = task.validation
    if validation is None or validation.moments is None or validation.moments.day is None:
        return False
    assert task.setup is not None
    index = task.item_index
    return bool(np.any((task.setup.counts[index] == 0) & validation.is_allowed[index]))
