"""Define the exit codes, and turn every error into one line on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TextIO

import click

from semconv.error_lines import INTERRUPTED, INTERRUPTED_LINE, OUTPUT_CLOSED, described, one_line, without_input
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

EXIT_CODES = {
    0: "success",
    CheckFailedError.exit_code: f"the command ran, but {CheckFailedError.meaning}; or {SemconvError.meaning} (internal error)",
    **{kind.exit_code: kind.meaning for kind in (SettingsError, LockedError, InputError, MachineError)},
    INTERRUPTED: INTERRUPTED_LINE,
    OUTPUT_CLOSED: "the program that reads stdout has ended",
}


@contextlib.contextmanager
def report_errors(log: Log, is_verbose: Callable[[], bool]) -> Iterator[None]:
    """Log an error that the ``with`` block raises in one line, or one for each failed gate, and raise click's ``Exit`` with its exit code."""
    try:
        yield
    except (click.exceptions.Exit, SystemExit):
        raise
    except BaseException as error:
        trace = without_input("".join(traceback.format_exception(error)).rstrip()) if is_verbose() else ""
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
    if isinstance(error, click.Abort):
        return described(KeyboardInterrupt())
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message(), error.exit_code
    if isinstance(error, click.ClickException):
        return f"error: {one_line(error.format_message())}{_help_hint(error)}", error.exit_code
    if isinstance(error, GateFailedError):
        return "\n".join(f"error: {one_line(line)}" for line in error.lines), error.exit_code
    return described(error)


def close_stderr() -> None:
    """Discard all later output on stderr, because DuckDB's Python binding prints internal objects at exit."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    _redirect_to_null(sys.stderr)


def _help_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see `{context.command_path} --help`)" if context is not None else ""


def _redirect_to_null(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        descriptor = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)
