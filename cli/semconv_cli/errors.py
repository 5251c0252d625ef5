"""Define the exit codes, and turn every error into one line on stderr."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TextIO

import click

from semconv.errors import (
    CheckFailedError,
    GateFailedError,
    InputError,
    LockedError,
    MachineError,
    SemconvError,
    SettingsError,
)
from semconv_cli.log import Log

INTERNAL = 1
INTERRUPTED = 130
OUTPUT_CLOSED = 141  # the code of a program that SIGPIPE ended, as a shell reports it
EXIT_CODES = {
    0: "success",
    CheckFailedError.exit_code: f"the command ran, but {CheckFailedError.meaning}; or {SemconvError.meaning} (internal error)",
    **{kind.exit_code: kind.meaning for kind in (SettingsError, LockedError, InputError, MachineError)},
    INTERRUPTED: "interrupted; run the same command again to continue",
    OUTPUT_CLOSED: "the program that reads stdout has ended",
}

_LONGEST_WORD = 1000
_INPUT_VALUE = re.compile(r"input_value=.*?, input_type=", re.DOTALL)  # in the messages of pydantic
_MACHINE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOMEM)
_OUT_OF_MEMORY = ("OutOfMemoryError", "OutOfMemoryException")  # of torch and DuckDB, which are not imported here


@contextlib.contextmanager
def report_errors(log: Log, is_verbose: Callable[[], bool]) -> Iterator[None]:
    """Log an error that the ``with`` block raises in one line, or one for each failed gate, and raise click's ``Exit`` with its exit code."""
    try:
        yield
    except (click.exceptions.Exit, SystemExit):
        raise
    except BaseException as error:
        trace = _without_input("".join(traceback.format_exception(error)).rstrip()) if is_verbose() else ""
        if trace and log.form == "text":
            log.say(trace)
        line, code = describe_error(error)
        if isinstance(error, BrokenPipeError):
            _redirect_to_null(sys.stdout)  # or the flush at exit fails too
        lines = line.splitlines() if isinstance(error, GateFailedError) else [line]
        for part in filter(None, lines):
            log.say(part, "error", **({"traceback": trace} if trace else {}))
        raise click.exceptions.Exit(code) from None


def describe_error(error: BaseException) -> tuple[str, int]:
    """Return the text that reports an error, and the exit code. The text is empty if there is nothing to report.

    The text is one line, or one line for each gate that failed.
    """
    if isinstance(error, BrokenPipeError):
        return "", OUTPUT_CLOSED
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return EXIT_CODES[INTERRUPTED], INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message(), error.exit_code
    if isinstance(error, click.ClickException):
        return f"error: {_one_line(error.format_message())}{_help_hint(error)}", error.exit_code
    if isinstance(error, GateFailedError):
        return "\n".join(f"error: {_one_line(line)}" for line in error.lines), error.exit_code
    if isinstance(error, SemconvError):
        return f"error: {_one_line(str(error))}", error.exit_code
    if (message := _machine_message(error)) is not None:
        return f"error: {message}", MachineError.exit_code
    text = _one_line(_without_input(str(error)))
    return f"internal error: {type(error).__name__}: {text}; please report it with the output of -v", INTERNAL


def close_stderr() -> None:
    """Discard all later output on stderr, because DuckDB's Python binding prints internal objects at exit."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    _redirect_to_null(sys.stderr)


def _machine_message(error: BaseException) -> str | None:
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, MemoryError) or names.intersection(_OUT_OF_MEMORY) or "can't allocate memory" in str(error):
        return (
            "out of memory; make batches smaller (tuning.batch_tokens, recommend.batch_tokens) or use a larger machine"
        )
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRNOS:
        path = f"{error.filename}: " if error.filename else ""
        return (
            f"{path}{error.strerror}; free disk space or check owner and permissions, then run the same command again"
        )
    return None


def _help_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see `{context.command_path} --help`)" if context is not None else ""


def _one_line(text: str) -> str:
    """Replace line breaks by spaces, and cut very long words such as ids."""
    words = (word if len(word) <= _LONGEST_WORD else f"{word[:_LONGEST_WORD]}…" for word in text.split())
    return " ".join(words) or "no message"


def _without_input(text: str) -> str:
    """Return a text without the values that pydantic quotes, which may be passwords."""
    return _INPUT_VALUE.sub("input_value=***, input_type=", text)


def _redirect_to_null(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        descriptor = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
