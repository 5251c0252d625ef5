"""The coordinates of the charts on the HTML pages. The templates draw the charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Colours and dashes of lines, readable on white and on black. The first two are for the methods of the evaluated lists.
_COLOURS = ("#2563a8", "#c2410c", "#15803d", "#7c3aed", "#0e7490", "#b45309", "#be185d", "#6b7280", "#4d7c0f")
_DASHES = ("", "", "7 3", "2 3", "9 3 2 3", "5 2", "1 2", "12 4", "4 4")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM = 520, 300, 52, 510, 260
_AREA_WIDTH, _AREA_HEIGHT, _AREA_STEPS = 300, 72, 256


def usage_chart(counts: Sequence[int]) -> dict[str, Any]:
    """Return a chart of the number of items with each code of a level, as an area of at most 256 steps."""
    steps = min(len(counts), _AREA_STEPS)
    drawn = [counts[step * len(counts) // steps] for step in range(steps)]
    top = max(*drawn, 1)
    points = []
    for step, number in enumerate(drawn):
        y = f"{_AREA_HEIGHT - number / top * (_AREA_HEIGHT - 4):.1f}"
        points += [f"{step * _AREA_WIDTH / steps:.1f},{y}", f"{(step + 1) * _AREA_WIDTH / steps:.1f},{y}"]
    area = f"0,{_AREA_HEIGHT} {' '.join(points)} {_AREA_WIDTH},{_AREA_HEIGHT}"
    return {"width": _AREA_WIDTH, "height": _AREA_HEIGHT, "area": area, "largest": top}


def interval_bars(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a bar with a confidence interval for each method, with lengths as percentages of the chart's width."""
    top = max([row["ci_high"] for row in rows.values()] + [1e-9])
    bars = []
    for method, row in rows.items():
        low, high = row["ci_low"] / top, row["ci_high"] / top
        bars.append({
            "method": method,
            "value": f"{row['value']:.4f}",
            "length": f"{row['value'] / top:.1%}",
            "interval_start": f"{low:.1%}",
            "interval_length": f"{max(0.002, high - low):.1%}",
        })  # fmt: skip
    return bars


def ndcg_chart(series: Mapping[str, Sequence[float]], own: Sequence[str]) -> dict[str, Any]:
    """Return a chart of NDCG@k over k, with a line for each method.

    Args:
        series: NDCG@1 to NDCG@K of each method.
        own: methods of the evaluated lists; their lines are thick and have the first colours.
    """
    length = len(next(iter(series.values())))
    top = max(max(values) for values in series.values()) * 1.05 or 1.0
    others = [method for method in series if method not in own]
    styles = {method: n for n, method in enumerate(own)} | {method: 2 + n for n, method in enumerate(others)}
    lines = [
        {
            "method": method,
            "points": " ".join(f"{_x(k, length):.1f},{_y(value, top):.1f}" for k, value in enumerate(values, start=1)),
            "colour": _COLOURS[styles[method] % len(_COLOURS)],
            "dash": _DASHES[styles[method] % len(_DASHES)],
            "width": 4 if method in own else 2,
            "last": values[-1],
        }
        for method, values in series.items()
    ]
    return {
        "width": _WIDTH, "height": _HEIGHT, "left": _LEFT, "right": _RIGHT, "bottom": _BOTTOM,
        "length": length,
        "lines": lines,
        "k_marks": [(f"{_x(k, length):.0f}", k) for k in (1, 5, 10, 15, 20, 50, 100) if k <= length],
        "value_marks": [(_y(value, top), label) for value, label in _round_values(top)],
    }  # fmt: skip


def _x(k: int, length: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (k - 1) / max(1, length - 1)


def _y(value: float, top: float) -> float:
    return 10 + (_BOTTOM - 10) * (1 - value / top)


def _round_values(top: float) -> list[tuple[float, str]]:
    """Return at most six round values up to ``top`` with their labels, for the vertical axis."""
    step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if top / step <= 6)
    digits = 3 if step < 0.01 else 2
    return [(step * n, f"{step * n:.{digits}f}") for n in range(1, int(top / step) + 1)]
