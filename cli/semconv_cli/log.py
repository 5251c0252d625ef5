"""Write to stderr: text for people or JSON objects for programs, with a summary at the end of a job."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TextIO

import click

from semconv.clock import utc_now
from semconv.error_lines import printable
from semconv_cli.output import json_text
from semconv_warehouse.upkeep.disk import in_words

Form = Literal["text", "json"]
FORMS = ("text", "json")
LOG_FORMAT_OPTION, LOG_FORMAT_VARIABLE = "--log-format", "SEMCONV_LOG_FORMAT"


@dataclass
class Log:
    """The log of a command, which goes to stderr.

    Attributes:
        form: text, or one JSON object per line.
        command: full name of the running command, such as ``semconv features get``.
        stream: the original stderr, also while ``capture_output`` replaces ``sys.stderr``.
    """

    form: Form = "text"
    command: str = "semconv"
    stream: TextIO = field(default_factory=lambda: sys.stderr)

    def say(self, message: str, level: str = "info", **fields: Any) -> None:
        """Write one line to stderr. If no program reads stderr any more, drop the line, so that the job continues."""
        with contextlib.suppress(BrokenPipeError):
            line = printable(message, "\n") if self.form == "text" else self._object(message, level, fields)
            click.echo(line, file=self.stream)

    @contextlib.contextmanager
    def capture_output(self, *, with_warnings: bool) -> Iterator[None]:
        """Write everything that libraries print inside the ``with`` block to this log. Stdout then has only data."""
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(_LogStream(self))
            stack.enter_context(contextlib.redirect_stderr(target))
            stack.enter_context(contextlib.redirect_stdout(target))
            stack.enter_context(warnings.catch_warnings())
            if not with_warnings:
                warnings.simplefilter("ignore")
                # Otherwise each retry without network is two lines. The library reads this when it is imported.
                os.environ.setdefault("HF_HUB_VERBOSITY", "error")
            yield

    def _object(self, message: str, level: str, fields: Mapping[str, Any]) -> str:
        now = utc_now().isoformat(timespec="milliseconds")
        line = {"time": now, "level": level, "command": self.command, "message": message, **fields}
        return json_text(line)


class _LogStream(io.TextIOBase):
    """A text stream that writes each line to a log, without control characters."""

    def __init__(self, log: Log) -> None:
        self._log, self._rest = log, ""

    def write(self, text: str) -> int:
        *lines, self._rest = f"{self._rest}{text}".split("\n")
        for line in lines:
            if line.strip():
                self._log.say(line.rstrip() if self._log.form == "text" else line.strip(), source="library")
        return len(text)

    def close(self) -> None:
        if not self.closed:
            self.write("\n")
        super().close()


_IDENTIFIERS = ("publication",)  # numbers among the counts that are identifiers


@dataclass
class JobSummary:
    """The counts and results of one job, which the last line of its log reports.

    Attributes:
        runs: ids of the runs that the job created, resumed or published.
        generation: the generation that the job published or found published.
        counts: numbers of rows, users, files or bytes by name.
        tasks: one row per long computation: task, unit, done, total.
    """

    command: str
    started: float = field(default_factory=time.monotonic)
    runs: list[str] = field(default_factory=list)
    generation: int | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)

    def add(self, counts: Mapping[str, Any], runs: Sequence[str], generation: int | None) -> None:
        """Add counts and run ids to the summary, and set its generation unless ``generation`` is None."""
        self.counts.update(counts)
        self.runs += runs
        self.generation = self.generation if generation is None else generation

    def fields(self, exit_code: int) -> dict[str, Any]:
        """Return the summary as fields of a JSON object."""
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
        """Return the summary as one line of text."""
        fields = self.fields(exit_code)
        outcome = "done" if exit_code == 0 else f"exit code {exit_code}"
        parts = [f"{self.command}: {outcome} in {fields['seconds']:.1f} s"]
        if self.generation is not None:
            parts.append(f"generation {self.generation}")
        for name, value in self.counts.items():
            if isinstance(value, int) and value:
                is_identifier = name in _IDENTIFIERS
                parts.append(f"{name} {value}" if is_identifier else f"{value:,} {name.replace('_', ' ')}")
        if self.runs:
            parts.append(self.runs[0] if len(self.runs) == 1 else f"{len(self.runs)} runs")
        return ", ".join([*parts, f"peak memory {in_words(fields['peak_memory_bytes'])}"])


def peak_memory_bytes() -> int:
    """Return the peak resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in kB


def requested_form(arguments: Sequence[str], environment: Mapping[str, str]) -> Form:
    """Find the log format in unparsed arguments or in the environment, because parsing errors are logged too."""
    form = environment.get(LOG_FORMAT_VARIABLE, "")
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == LOG_FORMAT_OPTION:
            form = value if equals else "".join(arguments[index + 1 : index + 2])
    return "json" if form == "json" else "text"
