"""A picture of a training in its run folder: loss by step, validation NDCG@10 below it. Plain SVG, no library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from semconv.artifacts import write_bytes

CHART = "training.svg"
_WIDTH, _LEFT, _RIGHT = 760, 64, 24
_PANEL, _GAP, _TOP = 190, 52, 48
_MOST_POINTS = 300  # of a curve; more steps are drawn as means with the range around them
_INK, _SOFT, _LINE, _MARK, _BAND, _GOOD = "#1d2430", "#5b6575", "#dde2ea", "#2563a8", "#cfe0f3", "#1f6f43"


@dataclass(frozen=True)
class _Panel:
    """A plot area with its scales."""

    top: float
    steps: int  # at the right edge
    low: float
    high: float

    def x(self, step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / max(1, self.steps)

    def y(self, value: float) -> float:
        share = (value - self.low) / max(1e-12, self.high - self.low)
        return self.top + _PANEL * (1.0 - min(1.0, max(0.0, share)))


def write_chart(folder: Path, lines: Sequence[Mapping[str, Any]], validations: Sequence[Mapping[str, float]]) -> None:
    """Draw the lines of a step log; writes nothing when there are none."""
    if lines:
        write_bytes(folder / CHART, training_chart(lines, validations).encode())


def training_chart(lines: Sequence[Mapping[str, Any]], validations: Sequence[Mapping[str, float]]) -> str:
    """The picture of steps (``step``, ``epoch``, ``loss``) and validations (``step``, ``ndcg@10``) as SVG."""
    steps, losses = int(lines[-1]["step"]), [float(line["loss"]) for line in lines]
    ends = [int(line["step"]) for line, after in pairwise(lines) if after["epoch"] != line["epoch"]]
    height = _TOP + _PANEL + 34 + (_GAP - 34 + _PANEL + 34 if validations else 0)
    ordered = sorted(losses)  # a few bad steps must not flatten the rest
    loss = _Panel(_TOP, steps, min(losses), max(ordered[math.ceil(0.995 * (len(ordered) - 1))], min(losses) + 1e-6))
    parts = [_frame(loss, "loss", ends, is_last=not validations), _loss_curve(loss, lines)]
    title = f"{steps:,} steps, loss {losses[0]:.3f} to {losses[-1]:.3f}"
    if validations:
        scores = [float(row["ndcg@10"]) for row in validations]
        best = max(scores)
        title += f", best validation NDCG@10 {best:.4f}"
        panel = _Panel(_TOP + _PANEL + _GAP, steps, 0.0, best * 1.15 or 1.0)
        parts += [_frame(panel, "validation NDCG@10", ends, is_last=True), _scores(panel, validations, best)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{_SOFT}" role="img" aria-label="{title}">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="{_LEFT}" y="20" font-size="14" fill="{_INK}">{title}</text>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _frame(panel: _Panel, name: str, ends: Sequence[int], *, is_last: bool) -> str:
    right, bottom = _WIDTH - _RIGHT, panel.top + _PANEL
    parts = [f'<text x="{_LEFT}" y="{panel.top - 8}" fill="{_INK}">{name}</text>']
    for end in ends:  # of epochs
        x = panel.x(end)
        parts.append(
            f'<line x1="{x:.1f}" y1="{panel.top}" x2="{x:.1f}" y2="{bottom}" stroke="{_LINE}" stroke-dasharray="3 3"/>'
        )
    for place in range(5):
        value = panel.low + (panel.high - panel.low) * place / 4
        y = panel.y(value)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="{_LINE}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    if is_last:
        for place in range(5):
            step = panel.steps * place / 4
            parts.append(f'<text x="{panel.x(step):.1f}" y="{bottom + 18}" text-anchor="middle">{step:,.0f}</text>')
        parts.append(f'<text x="{right}" y="{bottom + 31}" text-anchor="end">steps; dashed: ends of epochs</text>')
    return "\n".join(parts)


def _loss_curve(panel: _Panel, lines: Sequence[Mapping[str, Any]]) -> str:
    width = -(-len(lines) // _MOST_POINTS)
    groups = [lines[start : start + width] for start in range(0, len(lines), width)]
    at = [panel.x(sum(line["step"] for line in group) / len(group)) for group in groups]
    values = [[float(line["loss"]) for line in group] for group in groups]
    band = ""
    if width > 1:
        upper = [f"{x:.1f},{panel.y(max(of)):.1f}" for x, of in zip(at, values, strict=True)]
        lower = [f"{x:.1f},{panel.y(min(of)):.1f}" for x, of in zip(at, values, strict=True)]
        band = f'<polygon points="{" ".join(upper + lower[::-1])}" fill="{_BAND}"/>\n'
    points = " ".join(f"{x:.1f},{panel.y(sum(of) / len(of)):.1f}" for x, of in zip(at, values, strict=True))
    return f'{band}<polyline points="{points}" fill="none" stroke="{_MARK}" stroke-width="1.5"/>'


def _scores(panel: _Panel, validations: Sequence[Mapping[str, float]], best: float) -> str:
    points = [(panel.x(row["step"]), panel.y(row["ndcg@10"]), row["ndcg@10"]) for row in validations]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    parts = [f'<polyline points="{line}" fill="none" stroke="{_MARK}" stroke-width="1.5"/>']
    for x, y, score in points:
        colour, radius = (_GOOD, 5) if score == best else (_MARK, 3)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')
        if score == best or len(points) <= 12:
            parts.append(
                f'<text x="{x:.1f}" y="{y - 9:.1f}" text-anchor="{"end" if x > _WIDTH - 60 else "middle"}" fill="{_INK}">{score:.4f}</text>'
            )
    return "\n".join(parts)
