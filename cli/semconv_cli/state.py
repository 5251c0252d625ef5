"""What the global options say, and the one way from them to a Project."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semconv.errors import SettingsError
from semconv.progress import Progress, Silent
from semconv.tuning.launch import is_follower
from semconv_cli.log import Job, Log

if TYPE_CHECKING:
    from semconv_warehouse.project import Project


@dataclass
class State:
    """Global options of one command line, filled while it is parsed."""

    project: Path | None = None
    wait_seconds: float = 0.0
    settings: dict[str, str] = field(default_factory=dict)  # --set section.key=value
    flags: dict[str, Any] = field(default_factory=dict)  # a setting's own flag, which wins over --set
    verbose: bool = False
    quiet: bool = False
    log: Log = field(default_factory=Log)
    job: Job | None = None  # what works on a project, not what only looks something up

    def begin(self, command: str) -> None:
        """A job begins: its end will be one summary line."""
        self.log.command = command
        self.job = Job(command)

    def note(
        self, counts: Mapping[str, Any] | None = None, *, runs: Sequence[str] = (), generation: int | None = None
    ) -> None:
        """What the job's summary tells: numbers by name, runs, and the generation in place."""
        job = self.job or Job("")
        job.runs += runs
        job.generation = generation if generation is not None else job.generation
        job.counts.update(counts or {})

    def end(self, exit_code: int) -> None:
        """The summary line of a job; as text, a job that failed has ended with its error's line."""
        if self.job is None:
            return
        if self.log.form == "json":
            level = "info" if exit_code == 0 else "error"
            self.log.say(self.job.text(exit_code), level, **self.job.summary(exit_code))
        elif exit_code == 0:
            self.remark(self.job.text(exit_code))

    def progress(self) -> Progress:
        """Bars on a terminal, lines elsewhere and as JSON, nothing with ``--quiet``; a job's summary counts the tasks."""
        from semconv_cli.progress import Counting, stderr_progress

        drawn = Silent() if self.quiet else stderr_progress(self.log)
        return drawn if self.job is None else Counting(drawn, self.job.tasks)

    def remark(self, message: str) -> None:
        """One line on stderr that ``--quiet`` leaves out."""
        if not self.quiet:
            self.log.say(message)

    def libraries(self) -> AbstractContextManager[None]:
        """Where libraries work: what they print goes to stderr; their warnings are shown with ``--verbose``."""
        return self.log.libraries(with_warnings=self.verbose)

    @contextlib.contextmanager
    def open(self) -> Iterator[Project]:
        """Open the project for one method call, in the one process that it belongs to."""
        if is_follower():
            raise SettingsError(
                "torchrun with several processes is for `semconv finetune`; run this command without it"
            )
        with self.libraries():
            from semconv_warehouse.project import Project

            overrides = {**self.settings, **self.flags}
            yield Project.open(self.project, overrides=overrides, wait=self.wait_seconds, progress=self.progress())

    def follow(self) -> None:
        """Be one of the processes that train with the one which opened the project, whose job it is."""
        self.job = None
        with self.libraries():
            from semconv.stages.tune.group import follow

            follow()


pass_state = click.make_pass_decorator(State, ensure=True)
