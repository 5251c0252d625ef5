"""A log with one JSON line for each training step. A training that was killed and resumed has each step once in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TextIO

from semconv.artifacts import machine_errors, write_bytes
from semconv.runs.files import STEPS
from semconv.tuning.step import StepFigures


class StepLog:
    """The log of a training that continues after ``steps`` steps. Without a folder, nothing is written."""

    def __init__(self, folder: Path | None, steps: int) -> None:
        """Open the log. Remove an incomplete last line, and the lines of all steps that will be repeated."""
        self._stream: TextIO | None = None
        if folder is None:
            return
        self.path = folder / STEPS
        kept = [line for line in read_steps(folder) if line["step"] <= steps]
        write_bytes(self.path, "".join(map(step_line, kept)).encode())
        self._stream = self.path.open("a")

    def write(self, step: int, epoch: int, rate: float, figures: StepFigures, seconds: float) -> None:
        """Add one line with the figures of one update of the weights."""
        if self._stream is None:
            return
        line = {
            "step": step,
            "epoch": epoch,
            "loss": round(figures.loss, 5),
            "losses": {task: round(loss, 5) for task, loss in figures.by_task.items()},
            "learning_rate": rate,
            "gradient_norm": round(figures.gradient_norm, 4),
            "samples": figures.samples,
            "tokens": figures.tokens,
            "seconds": round(seconds, 4),
        }
        with machine_errors(self.path):
            self._stream.write(step_line(line))

    def flush(self) -> None:
        """Sync the log to disk. Call this before saving a checkpoint, which must not have more steps than the log."""
        if self._stream is None:
            return
        with machine_errors(self.path):
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Flush and close the log."""
        if self._stream is not None:
            with machine_errors(self.path):
                self._stream.close()


def step_line(step: dict[str, Any]) -> str:
    """Return one step as a line of the log."""
    return json.dumps(step) + "\n"


def read_steps(folder: Path) -> list[dict[str, Any]]:
    """Read the log in a run folder, without an incomplete last line. Return an empty list if there is no log yet."""
    path = folder / STEPS
    lines: list[dict[str, Any]] = []
    for text in path.read_bytes().splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
        except ValueError:
            break
        if lines and line["step"] <= lines[-1]["step"]:
            break
        lines.append(line)
    return lines
