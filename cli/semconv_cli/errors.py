"""The one owner of exit codes, and of how an error reads.

Every error ends as one line ``error: what, where, what to do next`` and a code: 0 done, 1 a check
failed, 2 usage or settings, 3 locked, 4 input or artifact, 5 the machine, 130 interrupted, 141 the
reader of stdout went away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator

import click

from semconv.errors import MachineError, SemconvError
from semconv_cli.log import Log

_LONGEST_WORD = 1000
INTERNAL = 1
INTERRUPTED = 130
OUTPUT_CLOSED = 141  # as the shell counts a program ended by SIGPIPE
_MACHINE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOMEM)
_OUT_OF_MEMORY = ("OutOfMemoryError", "OutOfMemoryException")  # torch's and DuckDB's, neither is imported here


@contextlib.contextmanager
def reported(log: Log, is_verbose: Callable[[], bool]) -> Iterator[None]:
    """Turn whatever leaves the block into one line of the log and click's Exit with the exit code."""
    try:
        yield
    except (click.exceptions.Exit, SystemExit):
        raise
    except BaseException as error:
        trace = "".join(traceback.format_exception(error)).rstrip() if is_verbose() else ""
        if trace and log.form == "text":
            log.say(trace)
        line, code = described(error)
        if isinstance(error, BrokenPipeError):
            _forget_stdout()
        if line:
            log.say(line, "error", **({"traceback": trace} if trace else {}))
        raise click.exceptions.Exit(code) from None


def described(error: BaseException) -> tuple[str, int]:
    """The line of an error, empty where there is nothing to say, and its exit code."""
    if isinstance(error, BrokenPipeError):
        return "", OUTPUT_CLOSED
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted; the same command goes on where it stopped", INTERRUPTED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message(), error.exit_code
    if isinstance(error, click.ClickException):
        return f"error: {_one_line(error.format_message())}{_where_to_look(error)}", error.exit_code
    if isinstance(error, SemconvError):
        return f"error: {_one_line(str(error))}", error.exit_code
    if (refusal := _machine_refusal(error)) is not None:
        return f"error: {refusal}", MachineError.exit_code
    where = "-v shows where, please report it"
    return f"internal error: {type(error).__name__}: {_one_line(str(error))}; {where}", INTERNAL


def end_stderr() -> None:
    """Close stderr behind our last word: at exit DuckDB's binding lists some hundred live objects there."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
        _point_at_nothing(sys.stderr.fileno())


def _machine_refusal(error: BaseException) -> str | None:
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, MemoryError) or names.intersection(_OUT_OF_MEMORY) or "can't allocate memory" in str(error):
        return "out of memory; a smaller batch (tuning.batch_tokens, recommend.batch_tokens) or a larger machine helps"
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRNOS:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}; free space or check owner and mode, then run the same command again"
    return None


def _where_to_look(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see `{context.command_path} --help`)" if context is not None else ""


def _one_line(text: str) -> str:
    """Blanks as one, and a word that is very long, as an id can be, cut."""
    words = (word if len(word) <= _LONGEST_WORD else f"{word[:_LONGEST_WORD]}…" for word in text.split())
    return " ".join(words) or "no message"


def _forget_stdout() -> None:
    """So that the flush at exit does not fail a second time."""
    with contextlib.suppress(OSError, ValueError):
        _point_at_nothing(sys.stdout.fileno())


def _point_at_nothing(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
