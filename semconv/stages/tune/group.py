"""Tune in several processes: the first opens the project and sends the other processes everything that they need.

The task is pickled only to send it between the processes of one launch; it is never written to a file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semconv.errors import CheckFailedError, SemconvError, SettingsError
from semconv.progress import Silent
from semconv.settings.tree import Settings
from semconv.settings.tuning import TuningSettings
from semconv.stages.tune.item_setup import ItemSetup
from semconv.stages.tune.prompts import PromptSource
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder

if TYPE_CHECKING:
    from semconv.tuning.form import Form
    from semconv.tuning.processes import Processes

# With these values, a network computes the embeddings of the code tokens. Processes do not exchange its gradients.
_ONE_PROCESS_STARTS = ("mlp2", "mlp3")


@dataclass(frozen=True)
class TuningTask:
    """The data that another process needs for a training. Model weights are sent separately, as tensors."""

    config: Any  # configuration of the model, with the code tokens
    encoder: PromptEncoder
    data: TaskData
    settings: Settings
    tuning: TuningSettings
    level_tokens: NDArray[np.int64]  # (N, C) token of each code, levels by codes
    codes: NDArray[np.uint16]  # (M, N) codes of all items that have codes
    pad: int
    is_validated: bool
    setup: ItemSetup | None  # of the item parts; None when histories are code tokens

    def form(self, source: PromptSource) -> Form:
        """Return the form in which the model reads histories, for the training data of ``source``."""
        from semconv.item_head.form import ItemForm
        from semconv.tuning.choices import CodeChoices
        from semconv.tuning.form import TokenForm

        if self.setup is not None:
            tasks, length = source.settings.tasks, source.settings.split.history_length
            return ItemForm(
                source.data, source.encoder, tasks, length, self.setup.calendar, self.pad, self.setup.num_latest
            )
        choices = CodeChoices(self.level_tokens, self.codes) if self.tuning.loss_over == "trie" else None
        return TokenForm(source.rows, self.pad, choices)


class Leader:
    """The first process of a training, which opens the project. The training may have no other process."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._others_wait = processes.count > 1

    def start(self, task: TuningTask) -> None:
        """Send the task to the other processes.

        Raises:
            SettingsError: the settings are for training in one process only.
        """
        if self.processes.count > 1 and task.tuning.code_start in _ONE_PROCESS_STARTS:
            raise SettingsError(
                f"tuning.code_start = {task.tuning.code_start} can only be trained in one process; run without torchrun, or change this setting"
            )
        self._tell(task)

    def dismiss(self) -> None:
        """Tell the other processes to end, if they still wait for a task."""
        if self._others_wait:
            self._tell(None)

    def _tell(self, task: TuningTask | None) -> None:
        self._others_wait = False
        with self.processes.naming_lost_process():
            self.processes.broadcast(task)


@contextlib.contextmanager
def leading() -> Iterator[Leader]:
    """Lead the other processes during the ``with`` block; after an error in it, torchrun ends the other processes."""
    from semconv.tuning.processes import connect

    leader = Leader(connect())
    yield leader
    leader.dismiss()
    leader.processes.disconnect()


def follow() -> None:
    """Wait for a task and train, as one of the other processes, which open no project and write no file.

    Raises:
        SemconvError: an error of this process; the message names the process.
    """
    from semconv.tuning.processes import connect

    processes = connect()
    with processes.naming_lost_process():
        task: TuningTask | None = processes.broadcast(None)
    try:
        if task is not None:
            _train(task, processes)
    except CheckFailedError:  # All processes get this error. The first one reports it, then torchrun ends this one.
        with contextlib.suppress(RuntimeError):
            processes.broadcast(None)
        raise SystemExit(1) from None
    except SemconvError as error:
        raise type(error)(f"process {processes.rank} of {processes.count}: {error}") from error
    processes.disconnect()


def _train(task: TuningTask, processes: Processes) -> None:
    from semconv.backbone.load import model_from_config
    from semconv.tuning.model import prepare
    from semconv.tuning.train import Training, tune

    source = PromptSource(task.encoder, task.data, task.settings, Silent())
    model = prepare(model_from_config(task.config), task.level_tokens, task.tuning)
    if task.setup is not None:
        task.setup.attach(model, task.tuning.seed)
    judge = _not_asked if task.is_validated else None
    nowhere = Path()  # only the first process writes
    tune(model, Training(task.form(source), judge, nowhere, Silent()), task.tuning, processes)


def _not_asked(_model: Any) -> float:
    raise AssertionError("only the first process validates")
