"""The progress of a long computation. The command line draws bars, ``LineProgress`` prints lines, ``Silent`` nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

SECONDS_BETWEEN_LINES = 30.0


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


@dataclass
class LineProgress:
    """A progress display for log files: at most one line every half minute during a task, and one line at its end."""

    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic

    @contextlib.contextmanager
    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> Iterator[Task]:
        """Print progress lines for a task that has ``total`` units."""
        line = _Line(self, label, total, unit, done)
        yield line
        line.close()


class _Line:
    def __init__(self, progress: LineProgress, label: str, total: float, unit: str, done: float) -> None:
        self._progress, self._label, self._total, self._unit = progress, label, total, unit
        self._done = self._first_done = done
        self._note = ""
        self._started = self._printed = progress.clock()

    def advance(self, amount: float, note: str = "") -> None:
        self._done += amount
        self._note = note or self._note
        now = self._progress.clock()
        if now - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = now
            rate = (self._done - self._first_done) / (now - self._started)
            left = f", {_duration((self._total - self._done) / rate)} left" if rate > 0 else ""
            self._print(f", {rate_in_words(rate, self._unit)}{left}")

    def close(self) -> None:
        self._print(f" in {_duration(self._progress.clock() - self._started)}")

    def _print(self, rest: str) -> None:
        note = f" ({self._note})" if self._note else ""
        self._progress.say(f"{self._label}: {self._done:,.0f} of {self._total:,.0f} {self._unit}{rest}{note}")


def rate_in_words(speed: float, unit: str) -> str:
    """Return the units per second as text."""
    return f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.2g} {unit}/s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
