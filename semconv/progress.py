"""The progress of a long computation. The command line draws progress bars; the class ``Silent`` draws none."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Task(Protocol):
    """A progress bar."""

    def advance(self, amount: float, note: str = "") -> None:
        """Advance the bar by ``amount`` units; ``note`` replaces the text beside the bar."""
        ...


class Progress(Protocol):
    """Shows progress bars and lines of text."""

    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> AbstractContextManager[Task]:
        """Show a progress bar that counts to ``total`` units. The bar of a resumed job starts at ``done`` units."""
        ...

    def say(self, message: str) -> None:
        """Show the user one line of text on stderr."""
        ...


class _SilentTask:
    def advance(self, amount: float, note: str = "") -> None:
        """Do nothing."""


class Silent:
    """Shows no progress."""

    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> AbstractContextManager[Task]:
        """Return a progress bar that is not shown."""
        return nullcontext(_SilentTask())

    def say(self, message: str) -> None:
        """Do nothing."""
