"""The chart of a training in its run folder: the loss by step, and below it NDCG@10 on the validation users."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from semconv.artifacts import write_bytes
from semconv.reports.page import render

_WIDTH, _LEFT, _RIGHT = 760, 64, 736
_PANEL, _GAP, _TOP, _AXIS = 190, 52, 48, 34  # heights in pixels
_MOST_POINTS = 300  # points of the loss curve; if there are more steps, each point is the mean of several
_MOST_LABELS = 12  # with more validations than this, only the best one has a label

Lines = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Panel:
    """One plot area of the chart, with its scales."""

    name: str
    top: int
    steps: int  # number of steps at the right edge
    low: float
    high: float

    @property
    def bottom(self) -> int:
        return self.top + _PANEL

    @property
    def marks(self) -> list[float]:
        """Five values for the labels of the vertical axis."""
        return [self.low + (self.high - self.low) * n / 4 for n in range(5)]

    def x(self, step: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * step / max(1, self.steps)

    def y(self, value: float) -> float:
        share = (value - self.low) / max(1e-12, self.high - self.low)
        return self.top + _PANEL * (1.0 - min(1.0, max(0.0, share)))

    def points(self, pairs: Iterable[tuple[float, float]]) -> str:
        """Return the coordinates of an SVG line through points, which are given as pairs of step and value."""
        return " ".join(f"{self.x(step):.1f},{self.y(value):.1f}" for step, value in pairs)


def write_chart(path: Path, lines: Lines, validations: Sequence[Mapping[str, float]]) -> None:
    """Write the chart of a step log to a file; write nothing if the log is empty."""
    if lines:
        write_bytes(path, training_chart(lines, validations).encode())


def training_chart(lines: Lines, validations: Sequence[Mapping[str, float]]) -> str:
    """Return the chart as SVG.

    Args:
        lines: the step log, one line for each step, with ``step``, ``epoch`` and ``loss``.
        validations: one row for each validation, with ``step`` and ``ndcg@10``.
    """
    steps, losses = int(lines[-1]["step"]), [float(line["loss"]) for line in lines]
    ordered = sorted(losses)  # a few steps with a large loss must not flatten the curve
    highest = max(ordered[math.ceil(0.995 * (len(ordered) - 1))], min(losses) + 1e-6)
    loss = _Panel("loss", _TOP, steps, min(losses), highest)
    title = f"{steps:,} steps, loss {losses[0]:.3f} to {losses[-1]:.3f}"
    scores = [(row["step"], float(row["ndcg@10"])) for row in validations]
    best = max((score for _, score in scores), default=0.0)
    ndcg = None
    if scores:
        title += f", best validation NDCG@10 {best:.4f}"
        ndcg = _Panel("validation NDCG@10", loss.bottom + _GAP, steps, 0.0, best * 1.15 or 1.0)
    return render(
        "training.svg",
        title=title,
        width=_WIDTH,
        height=(ndcg or loss).bottom + _AXIS,
        left=_LEFT,
        right=_RIGHT,
        steps=steps,
        epoch_ends=[int(line["step"]) for line, after in pairwise(lines) if after["epoch"] != line["epoch"]],
        loss=loss,
        **_loss_curve(loss, lines),
        ndcg=ndcg,
        scores=scores,
        best=best,
        most_labels=_MOST_LABELS,
    )


def _loss_curve(panel: _Panel, lines: Lines) -> dict[str, str]:
    """Return the points of the mean loss. If a point stands for several steps, add the outline of the loss range."""
    width = -(-len(lines) // _MOST_POINTS)
    groups = [lines[start : start + width] for start in range(0, len(lines), width)]
    steps = [sum(line["step"] for line in group) / len(group) for group in groups]
    losses = [[float(line["loss"]) for line in group] for group in groups]
    upper = [*zip(steps, map(max, losses), strict=True)]
    lower = [*zip(steps, map(min, losses), strict=True)]
    means = [(step, sum(group) / len(group)) for step, group in zip(steps, losses, strict=True)]
    return {
        "loss_points": panel.points(means),
        "loss_range": panel.points([*upper, *reversed(lower)]) if width > 1 else "",
    }
