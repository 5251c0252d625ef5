"""Text for a terminal: an error as one line with its exit code, and lines without control characters."""

from __future__ import annotations

import errno
import re
from typing import Final

from semconv.errors import MachineError, SemconvError

INTERNAL: Final = 1
INTERRUPTED: Final = 130
OUTPUT_CLOSED: Final = 141  # the code of a program that SIGPIPE ended, as a shell reports it
INTERRUPTED_LINE: Final = "interrupted; run the same command again to continue"

_LONGEST_WORD = 1000
_INPUT_VALUE = re.compile(r"input_value=.*?, input_type=", re.DOTALL)  # in the messages of pydantic
_MACHINE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOMEM)
_OUT_OF_MEMORY = ("OutOfMemoryError", "OutOfMemoryException")  # of torch and DuckDB, which are not imported here


def described(error: BaseException) -> tuple[str, int]:
    """Return the line that reports an error, and the exit code. The line is empty if nobody is left to read it."""
    if isinstance(error, BrokenPipeError):
        return "", OUTPUT_CLOSED
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED_LINE, INTERRUPTED
    if isinstance(error, SemconvError):
        return f"error: {one_line(str(error))}", error.exit_code
    if (message := _machine_message(error)) is not None:
        return f"error: {message}", MachineError.exit_code
    text = one_line(without_input(str(error)))
    return f"internal error: {type(error).__name__}: {text}; please report it with the output of -v", INTERNAL


def one_line(text: str) -> str:
    """Replace line breaks by spaces, and cut very long words such as ids."""
    words = (word if len(word) <= _LONGEST_WORD else f"{word[:_LONGEST_WORD]}…" for word in text.split())
    return " ".join(words) or "no message"


def printable(text: str, also: str = "") -> str:
    """Replace control characters except those in ``also`` by spaces, because they could move the terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() or character in also else " " for character in text)


def without_input(text: str) -> str:
    """Return a text without the values that pydantic quotes, which may be passwords."""
    return _INPUT_VALUE.sub("input_value=***, input_type=", text)


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
