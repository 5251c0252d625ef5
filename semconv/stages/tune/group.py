"""Tuning in several processes: the first one owns the project, the others are told what they need and follow.

What goes from one to the others is pickled on its way, between processes of one launch; nothing of it is kept.
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
from semconv.tasks.data import TaskData
from semconv.tasks.encoder import PromptEncoder

if TYPE_CHECKING:
    from semconv.tuning.processes import Processes

_ONE_PROCESS_STARTS = ("mlp2", "mlp3")  # code rows that a network makes behind the back of what exchanges gradients


@dataclass(frozen=True)
class TuningTask:
    """A training as another process needs it: all but the weights, which it is sent as tensors."""

    config: Any  # of the model, code tokens included
    encoder: PromptEncoder
    data: TaskData
    settings: Settings
    tuning: TuningSettings
    level_tokens: NDArray[np.int64]  # (N, C)
    codes: NDArray[np.uint16]  # (M, N) of all items
    pad: int
    is_validated: bool


class Leader:
    """The first process, to which a project belongs; with one process there is nobody to lead."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._is_waited_for = processes.count > 1

    def start(self, task: TuningTask) -> None:
        """Tell the others what is trained.

        Raises:
            SettingsError: settings that several processes cannot train.
        """
        if self.processes.count > 1 and task.tuning.code_start in _ONE_PROCESS_STARTS:
            raise SettingsError(
                f"tuning.code_start = {task.tuning.code_start} trains in one process; run without torchrun, or start the codes otherwise"
            )
        self._tell(task)

    def dismiss(self) -> None:
        """Let the others go when nothing had to be trained."""
        if self._is_waited_for:
            self._tell(None)

    def _tell(self, task: TuningTask | None) -> None:
        self._is_waited_for = False
        with self.processes.noticing_loss():
            self.processes.share(task)


@contextlib.contextmanager
def leading() -> Iterator[Leader]:
    """Be the first process for the length of a command; on an error torchrun ends the others."""
    from semconv.tuning.processes import connect

    leader = Leader(connect())
    yield leader
    leader.dismiss()
    leader.processes.leave()


def follow() -> None:
    """Be one of the other processes: wait for a task, train, end. Writes nothing and touches no project.

    Raises:
        SemconvError: what went wrong in this process, which is named.
    """
    from semconv.tuning.processes import connect

    processes = connect()
    with processes.noticing_loss():
        task: TuningTask | None = processes.share(None)
    try:
        if task is not None:
            _train(task, processes)
    except (
        CheckFailedError
    ):  # of figures that all have; the first process records and says it, then torchrun ends this one
        with contextlib.suppress(RuntimeError):
            processes.share(None)
        raise SystemExit(1) from None
    except SemconvError as error:
        raise type(error)(f"process {processes.rank} of {processes.count}: {error}") from error
    processes.leave()


def _train(task: TuningTask, processes: Processes) -> None:
    from semconv.backbone.load import shape_of
    from semconv.stages.tune.prompt_source import PromptSource
    from semconv.tuning.choices import CodeChoices
    from semconv.tuning.model import prepare
    from semconv.tuning.train import Training, tune

    source = PromptSource(task.encoder, task.data, task.settings, Silent())
    model = prepare(shape_of(task.config), task.level_tokens, task.tuning)
    choices = CodeChoices(task.level_tokens, task.codes) if task.tuning.loss_over == "trie" else None
    judge = _not_asked if task.is_validated else None
    nowhere = Path()  # only the first process writes
    tune(model, Training(source.rows, judge, task.pad, nowhere, Silent(), choices), task.tuning, processes)


def _not_asked(_model: Any) -> float:
    raise AssertionError("only the first process validates")
