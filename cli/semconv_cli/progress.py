"""How far a long job is, on stderr: bars with rate and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.progress import Task as BarTask
from rich.text import Text

from semconv.progress import Progress, Task
from semconv_cli.log import Log

SECONDS_BETWEEN_LINES = 30.0


def stderr_progress(log: Log) -> Progress:
    """Bars when stderr is a terminal and the log is text, else lines."""
    console = Console(stderr=True)
    is_drawn = log.form == "text" and console.is_terminal and not console.is_dumb_terminal
    return BarProgress(console) if is_drawn else LineProgress(log.say)


class Counting:
    """Passes everything on, and keeps what each task came to."""

    def __init__(self, inner: Progress, tasks: list[dict[str, Any]]) -> None:
        """``tasks`` gets a row a task: task, unit, done, total."""
        self._inner, self._tasks = inner, tasks

    @contextlib.contextmanager
    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> Iterator[Task]:
        """A task that is counted."""
        row = {"task": label, "unit": unit, "done": done, "total": total}
        self._tasks.append(row)
        with self._inner.task(label, total, unit, done) as drawn:
            yield _Counted(drawn, row)

    def say(self, message: str) -> None:
        """One line, not counted."""
        self._inner.say(message)


class _Counted:
    def __init__(self, drawn: Task, row: dict[str, Any]) -> None:
        self._drawn, self._row = drawn, row

    def advance(self, amount: float, note: str = "") -> None:
        """Count on."""
        self._row["done"] += amount
        self._drawn.advance(amount, note)


class BarProgress:
    """Bars that are alive while at least one task is open; remarks are printed above them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._open = 0

    @contextlib.contextmanager
    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> Iterator[Task]:
        """A bar over ``total`` units."""
        if self._bars is None:
            self._bars = _bars(self._console)
            self._bars.start()
        self._open += 1
        bars = self._bars
        bar = bars.add_task(label, total=total, unit=unit, note="")
        bars.update(bar, completed=done)
        try:
            yield _Bar(bars, bar)
        finally:
            self._open -= 1
            if self._open == 0:
                bars.stop()
                self._bars = None

    def say(self, message: str) -> None:
        """One line above the bars."""
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)


class LineProgress:
    """For log files: a line when a task starts, at most one every half minute, and one at its end."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock

    @contextlib.contextmanager
    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> Iterator[Task]:
        """Lines about ``total`` units."""
        line = _Line(label, total, unit, done, self._say, self._clock)
        yield line
        line.close()

    def say(self, message: str) -> None:
        """One line on stderr."""
        self._say(message)


class _Bar:
    def __init__(self, bars: Bars, bar: int) -> None:
        self._bars = bars
        self._bar = bar

    def advance(self, amount: float, note: str = "") -> None:
        """Move the bar on."""
        self._bars.update(self._bar, advance=amount, **({"note": note} if note else {}))  # type: ignore[arg-type]


class _Line:
    def __init__(
        self,
        label: str,
        total: float,
        unit: str,
        done: float,
        say: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._label, self._total, self._unit, self._say, self._clock = label, total, unit, say, clock
        self._done = self._first_done = done
        self._note = ""
        self._started = self._last = clock()

    def advance(self, amount: float, note: str = "") -> None:
        """Count on; print when the last line is old enough."""
        self._done += amount
        self._note = note or self._note
        now = self._clock()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            rate = (self._done - self._first_done) / (now - self._started)
            left = f", {_duration((self._total - self._done) / rate)} left" if rate > 0 else ""
            self._say(f"{self._counted()}, {_rate(rate, self._unit)}{left}{self._remark()}")

    def close(self) -> None:
        """The line of a finished task."""
        seconds = self._clock() - self._started
        self._say(f"{self._counted()} in {_duration(seconds)}{self._remark()}")

    def _counted(self) -> str:
        return f"{self._label}: {self._done:,.0f} of {self._total:,.0f} {self._unit}"

    def _remark(self) -> str:
        return f" ({self._note})" if self._note else ""


class _RateColumn(ProgressColumn):
    """Units a second."""

    def render(self, task: BarTask) -> Text:
        """The rate, empty while it is unknown."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else _rate(speed, task.fields["unit"]), style="progress.data.speed")


def _bars(console: Console) -> Bars:
    return Bars(
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}", markup=False),
        _RateColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", markup=False),
        console=console,
    )


def _rate(speed: float, unit: str) -> str:
    return f"{speed:,.0f} {unit}/s" if speed >= 10 else f"{speed:.2g} {unit}/s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"
