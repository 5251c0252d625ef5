"""The global options of a command line, and how a command opens its project with them."""

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
from semconv_cli.log import JobSummary, Log

if TYPE_CHECKING:
    from semconv_warehouse.project import Project


@dataclass
class State:
    """Global options and the log of one command line.

    Attributes:
        settings: values of ``--set section.key=value``.
        options: values of options that stand for a setting, by ``section.key``. They override ``settings``.
        job: summary of the running job; None for a command that only reads.
    """

    project: Path | None = None
    wait_seconds: float = 0.0
    settings: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    verbose: bool = False
    quiet: bool = False
    log: Log = field(default_factory=Log)
    job: JobSummary | None = None

    def start_job(self, command: str) -> None:
        """Start a job. At the end of the job, a summary is written to stderr."""
        self.log.command = command
        self.job = JobSummary(command)

    def note(
        self, counts: Mapping[str, Any] | None = None, *, runs: Sequence[str] = (), generation: int | None = None
    ) -> None:
        """Add counts (by name), run ids and the published generation to the summary of the job."""
        if self.job is not None:
            self.job.add(counts or {}, runs, generation)

    def end_job(self, exit_code: int) -> None:
        """Write the summary of the job. In a text log, a failed job has an error line instead of a summary."""
        if self.job is None:
            return
        if self.log.form == "json":
            level = "info" if exit_code == 0 else "error"
            self.log.say(self.job.text(exit_code), level, **self.job.fields(exit_code))
        elif exit_code == 0:
            self.remark(self.job.text(exit_code))

    def progress(self) -> Progress:
        """Return the progress display for stages: bars on a terminal, otherwise lines, or nothing with --quiet."""
        from semconv_cli.progress import RecordedProgress, stderr_progress

        progress = Silent() if self.quiet else stderr_progress(self.log)
        return progress if self.job is None else RecordedProgress(progress, self.job.tasks)

    def remark(self, message: str) -> None:
        """Write one line to stderr, unless ``--quiet`` is given."""
        if not self.quiet:
            self.log.say(message)

    def capture_output(self) -> AbstractContextManager[None]:
        """Return a context manager that sends what libraries print to stderr, but warnings only with --verbose."""
        return self.log.capture_output(with_warnings=self.verbose)

    @contextlib.contextmanager
    def open(self) -> Iterator[Project]:
        """Open the project with the global options.

        Raises:
            SettingsError: this process was started by torchrun but is not its first one.
        """
        if is_follower():
            raise SettingsError(
                "only `semconv finetune` runs in several processes of torchrun; start this command without torchrun"
            )
        with self.capture_output():
            from semconv_warehouse.project import Project

            overrides = {**self.settings, **self.options}
            yield Project.open(self.project, overrides=overrides, wait=self.wait_seconds, progress=self.progress())

    def follow(self) -> None:
        """Train in a process of torchrun that is not the first. The first process opens the project and reports."""
        self.job = None
        with self.capture_output():
            from semconv.train.group import follow

            follow()


pass_state = click.make_pass_decorator(State, ensure=True)
