"""Tune in several processes: the first sends the other processes everything that they need.

The task is pickled only to send it between the processes of one launch; it is never written to a file.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semconv.errors import CheckFailedError, SemconvError, SettingsError
from semconv.progress import Silent
from semconv.tasks.source import PromptSource
from semconv.train.task import TuningTask
from semconv.tuning.processes import Processes, connect
from semconv.tuning.train import Training, tune
from semconv.tuning.validation_score import ValidationScore

# With these values, a network computes the embeddings of the code tokens. Processes do not exchange its gradients.
_ONE_PROCESS_STARTS = ("mlp2", "mlp3")


class Leader:
    """The first process of a training, which reads its inputs. The training may have no other process."""

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
        self._tell(dataclasses.replace(task, validation=None))  # only this process validates

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
    leader = Leader(connect())
    yield leader
    leader.dismiss()
    leader.processes.disconnect()


def follow() -> None:
    """Wait for a task and train, as one of the other processes, which open no file.

    Raises:
        SemconvError: an error of this process; the message names the process.
    """
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
    source = PromptSource(task.encoder, task.data, task.tasks, task.history_length, Silent())
    judge = _not_asked if task.is_validated else None
    nowhere = Path()  # only the first process writes
    tune(task.new_model().model, Training(task.form(source), judge, nowhere, Silent()), task.tuning, processes)


def _not_asked(_model: Any) -> ValidationScore:
    raise AssertionError("only the first process validates")
