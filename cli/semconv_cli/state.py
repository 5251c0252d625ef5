"""What the global options say, and the one way from them to a Project."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semconv.errors import SettingsError
from semconv.progress import Progress, Silent
from semconv.tuning.launch import is_follower
from semconv_cli.errors import say

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

    def progress(self) -> Progress:
        """Bars on a terminal, lines elsewhere, nothing with ``--quiet``."""
        if self.quiet:
            return Silent()
        from semconv_cli.progress import stderr_progress

        return stderr_progress()

    def remark(self, message: str) -> None:
        """One line on stderr that ``--quiet`` leaves out."""
        if not self.quiet:
            say(message)

    @contextlib.contextmanager
    def libraries(self) -> Iterator[None]:
        """Where libraries work: what they print goes to stderr, so that stdout carries the command's data alone.

        Their warnings are shown with ``--verbose``.
        """
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            if not self.verbose:
                warnings.simplefilter("ignore")
            yield

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
        """Be one of the processes that train with the one which opened the project."""
        with self.libraries():
            from semconv.pipeline.tuning_group import follow

            follow()


pass_state = click.make_pass_decorator(State, ensure=True)
