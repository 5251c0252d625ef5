"""How a long computation tells how far it is; the command line draws it, tests and libraries pass nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Task(Protocol):
    """One bar."""

    def advance(self, amount: float, note: str = "") -> None:
        """Move on by ``amount`` units; ``note`` replaces the text beside the bar."""
        ...


class Progress(Protocol):
    """Where bars and remarks go."""

    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> AbstractContextManager[Task]:
        """A bar over ``total`` units, ``done`` of them already there (a resumed job)."""
        ...

    def say(self, message: str) -> None:
        """One line for the user, on stderr."""
        ...


class _SilentTask:
    def advance(self, amount: float, note: str = "") -> None:
        """Nothing to draw."""


class Silent:
    """Draws nothing."""

    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> AbstractContextManager[Task]:
        """A bar that nobody sees."""
        return nullcontext(_SilentTask())

    def say(self, message: str) -> None:
        """Swallow the line."""
