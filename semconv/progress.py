"""Progress of a long computation. The command line draws it; without a command line, ``Silent`` drops it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Task(Protocol):
    """A progress bar."""

    def advance(self, amount: float, note: str = "") -> None:
        """Advance by ``amount`` units; ``note`` replaces the text beside the bar."""
        ...


class Progress(Protocol):
    """Shows progress bars and remarks."""

    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> AbstractContextManager[Task]:
        """Show a bar over ``total`` units, of which a resumed job has ``done`` already."""
        ...

    def say(self, message: str) -> None:
        """Show the user one line, on stderr."""
        ...


class _SilentTask:
    def advance(self, amount: float, note: str = "") -> None:
        """Do nothing."""


class Silent:
    """Shows nothing."""

    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> AbstractContextManager[Task]:
        """Return a bar that is not shown."""
        return nullcontext(_SilentTask())

    def say(self, message: str) -> None:
        """Do nothing."""
