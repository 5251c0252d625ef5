"""The one owner of stderr: lines as text for people or as JSON objects for programs, and the summary that ends a job."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import click

from semconv_cli.output import plain, printable
from semconv_warehouse.upkeep.disk import in_words

Form = Literal["text", "json"]
FORMS = ("text", "json")
OPTION, VARIABLE = "--log-format", "SEMCONV_LOG_FORMAT"


@dataclass
class Log:
    """Lines on stderr.

    Attributes:
        form: how a line looks.
        command: the path of the command at work, as in ``semconv features get``.
    """

    form: Form = "text"
    command: str = "semconv"
    _stream: TextIO = field(default_factory=lambda: sys.stderr)  # the real one, where libraries' output is caught

    def say(self, message: str, level: str = "info", **fields: Any) -> None:
        """Write one line; a reader that went away must not end a job."""
        with contextlib.suppress(BrokenPipeError):
            line = printable(message, "\n") if self.form == "text" else self._object(message, level, fields)
            click.echo(line, file=self._stream)

    @contextlib.contextmanager
    def libraries(self, *, with_warnings: bool) -> Iterator[None]:
        """Where libraries work: what they print goes to stderr, in the log's form, so that stdout carries data alone."""
        with contextlib.ExitStack() as stack:
            target: TextIO | _Lines = sys.stderr
            if self.form == "json":
                target = stack.enter_context(_Lines(self))
                stack.enter_context(contextlib.redirect_stderr(target))
            stack.enter_context(contextlib.redirect_stdout(target))
            stack.enter_context(warnings.catch_warnings())
            if not with_warnings:
                warnings.simplefilter("ignore")
            yield

    def _object(self, message: str, level: str, fields: Mapping[str, Any]) -> str:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": level, "command": self.command, "message": message, **fields}
        return json.dumps(plain(line), ensure_ascii=False, allow_nan=False)


class _Lines(io.TextIOBase):
    """A text stream whose whole lines go to a log."""

    def __init__(self, log: Log) -> None:
        self._log, self._rest = log, ""

    def write(self, text: str) -> int:
        """Take some text; what ends with a newline is said."""
        *lines, self._rest = f"{self._rest}{text}".split("\n")
        for line in lines:
            if line.strip():
                self._log.say(line.strip(), source="library")
        return len(text)

    def close(self) -> None:
        """Say what is left."""
        if not self.closed:
            self.write("\n")
        super().close()


_ORDINALS = ("publication",)  # counts that say which one, not how many


@dataclass
class Job:
    """What one command did, for its summary.

    Attributes:
        runs: ids of the runs that it made, took up or published.
        generation: that it put in place or found in place.
        counts: what else is worth a number: rows, users, files, bytes.
        tasks: long computations: task, unit, done, total.
    """

    command: str
    started: float = field(default_factory=time.monotonic)
    runs: list[str] = field(default_factory=list)
    generation: int | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)

    def summary(self, exit_code: int) -> dict[str, Any]:
        """The fields of the summary line."""
        return {
            "exit_code": exit_code,
            "seconds": round(time.monotonic() - self.started, 3),
            "runs": self.runs,
            "generation": self.generation,
            "counts": self.counts,
            "tasks": self.tasks,
            "peak_memory_bytes": peak_memory_bytes(),
        }

    def text(self, exit_code: int) -> str:
        """The summary as a sentence."""
        found = self.summary(exit_code)
        done = "done" if exit_code == 0 else f"exit code {exit_code}"
        parts = [f"{self.command}: {done} in {found['seconds']:.1f} s"]
        parts += [f"generation {self.generation}"] if self.generation is not None else []
        parts += _named(self.counts.items())
        parts += [self.runs[0] if len(self.runs) == 1 else f"{len(self.runs)} runs"] if self.runs else []
        return ", ".join([*parts, f"peak memory {in_words(found['peak_memory_bytes'])}"])


def peak_memory_bytes() -> int:
    """The largest resident size that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in kB


def asked_form(arguments: Sequence[str], environment: Mapping[str, str]) -> Form:
    """The form that a command line asks for, wherever its option stands: an error of parsing needs it before it is parsed."""
    found = environment.get(VARIABLE, "")
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == OPTION:
            found = value if equals else "".join(arguments[place + 1 : place + 2])
    return "json" if found == "json" else "text"


def _named(counts: Iterable[tuple[str, Any]]) -> list[str]:
    shown = [(name, value) for name, value in counts if isinstance(value, int) and value]
    return [f"{name} {value}" if name in _ORDINALS else f"{value:,} {name.replace('_', ' ')}" for name, value in shown]
