"""The errors that a user can see, each with its exit code.

A message says what is wrong, where, and what to do next, in one line. Bad input always raises one of these errors;
``assert`` is only for mistakes of the programmer. A message may quote ids of users, so it is shown and never stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class SemconvError(Exception):
    """Base class of all errors that the command line prints as one line.

    Attributes:
        meaning: the kind of error in words, without any data of users, so it may be stored.
    """

    exit_code = 1
    meaning: ClassVar[str] = "semconv has a defect"


class CheckFailedError(SemconvError):
    """The job ran, but a check of its result failed (exit code 1)."""

    exit_code = 1
    meaning = "a check failed"


class GateFailedError(CheckFailedError):
    """A gate refused to publish lists, or to store a snapshot of the items (exit code 1).

    Attributes:
        lines: one line for each gate that failed.
    """

    meaning = "a gate refused new lists or a snapshot of the items"

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class SettingsError(SemconvError):
    """A command or setting is wrong: an unknown key, or a value out of range (exit code 2)."""

    exit_code = 2
    meaning = "wrong usage or settings"


class LockedError(SemconvError):
    """Another process holds a lock (exit code 3)."""

    exit_code = 3
    meaning = "another process is using the warehouse or the same run"

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class InputError(SemconvError):
    """An input or an artifact is missing or invalid (exit code 4)."""

    exit_code = 4
    meaning = "an input file, or a file of an earlier run, is missing or invalid"


class MachineError(SemconvError):
    """The disk, a permission or the memory fails (exit code 5)."""

    exit_code = 5
    meaning = "disk space, memory or permissions were not sufficient"
