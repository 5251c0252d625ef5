"""The errors that a user can see, each with its exit code.

A message says what is wrong, where, and what to do next, in one line. Bad input always raises one of these errors;
``assert`` is only for mistakes of the programmer.
"""

from __future__ import annotations


class SemconvError(Exception):
    """Base class of all errors that the command line prints as one line."""

    exit_code = 1


class CheckFailedError(SemconvError):
    """The job ran, but a check of its result failed (exit code 1)."""

    exit_code = 1


class SettingsError(SemconvError):
    """A command or setting is wrong: an unknown key, or a value out of range (exit code 2)."""

    exit_code = 2


class LockedError(SemconvError):
    """Another process holds a lock (exit code 3)."""

    exit_code = 3

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class InputError(SemconvError):
    """An input or an artifact is missing or invalid (exit code 4)."""

    exit_code = 4


class MachineError(SemconvError):
    """The disk, a permission or the memory fails (exit code 5)."""

    exit_code = 5
