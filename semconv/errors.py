"""The errors a user can meet, each with its exit code.

A message says what is wrong, where, and what to do next, in one line. ``assert`` is for the
programmer's own mistakes; bad input always raises one of these.
"""

from __future__ import annotations


class SemconvError(Exception):
    """Base of every error that the command line prints as one line."""

    exit_code = 1


class CheckFailedError(SemconvError):
    """The work ran, but a check of its result failed (exit code 1)."""

    exit_code = 1


class SettingsError(SemconvError):
    """Wrong usage, an unknown key or a value out of range (exit code 2)."""

    exit_code = 2


class LockedError(SemconvError):
    """The warehouse or a run is held by another process (exit code 3)."""

    exit_code = 3

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class InputError(SemconvError):
    """An input or an artifact is missing or invalid (exit code 4)."""

    exit_code = 4


class MachineError(SemconvError):
    """Disk, permission or memory: the machine refused (exit code 5)."""

    exit_code = 5
