"""Show the progress of long computations on stderr: as bars on a terminal, otherwise as a line every half minute."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.progress import Task as BarTask
from rich.text import Text

from semconv.error_lines import printable
from semconv.progress import LineProgress, Progress, Task, rate_in_words
from semconv_cli.log import Log


def stderr_progress(log: Log) -> Progress:
    """Return a display with progress bars if stderr is a terminal and the log is text, otherwise with progress lines."""
    console = Console(file=log.stream)  # not sys.stderr, which may stand for the log while a command runs
    has_bars = log.form == "text" and console.is_terminal and not console.is_dumb_terminal
    return BarProgress(console) if has_bars else LineProgress(log.say)


class RecordedProgress:
    """A progress display that also records its tasks for the summary of a job."""

    def __init__(self, inner: Progress, tasks: list[dict[str, Any]]) -> None:
        """Show progress with ``inner``, and append a row (task, unit, done, total) to ``tasks`` for each task."""
        self._inner, self._tasks = inner, tasks

    @contextlib.contextmanager
    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> Iterator[Task]:
        """Show the progress of a task, and record the task for the summary of the job."""
        row = {"task": label, "unit": unit, "done": done, "total": total}
        self._tasks.append(row)
        with self._inner.task(label, total, unit, done) as shown:
            yield _RecordedTask(shown, row)

    def say(self, message: str) -> None:
        """Show one line of text with the inner display."""
        self._inner.say(message)


class _RecordedTask:
    def __init__(self, shown: Task, row: dict[str, Any]) -> None:
        self._shown, self._row = shown, row

    def advance(self, amount: float, note: str = "") -> None:
        self._row["done"] += amount
        self._shown.advance(amount, note)


class BarProgress:
    """A progress display with a bar for every running task. Messages are printed above the bars."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._open = 0

    @contextlib.contextmanager
    def task(self, label: str, total: float, unit: str, done: float = 0.0) -> Iterator[Task]:
        """Show a progress bar for a task that has ``total`` units."""
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
        """Print one line of text above the progress bars."""
        self._console.print(printable(message, "\n"), markup=False, highlight=False, soft_wrap=True)


class _Bar:
    def __init__(self, bars: Bars, bar: TaskID) -> None:
        self._bars = bars
        self._bar = bar

    def advance(self, amount: float, note: str = "") -> None:
        self._bars.advance(self._bar, amount)
        if note:
            self._bars.update(self._bar, note=note)


class _RateColumn(ProgressColumn):
    """The column of a progress bar that shows the units per second."""

    def render(self, task: BarTask) -> Text:
        """Return the rate of a task as text, or an empty text while the rate is unknown."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else rate_in_words(speed, task.fields["unit"]), style="progress.data.speed")


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
        redirect_stdout=False,  # what libraries print goes to the log
        redirect_stderr=False,
    )
