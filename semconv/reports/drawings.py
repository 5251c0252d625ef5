"""The drawings of an evaluation's page: intervals as bars, NDCG over K as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

# Told apart by hue and dash, on white and on black; the first two are for the lists that are evaluated.
_COLOURS = ("#2563a8", "#c2410c", "#15803d", "#7c3aed", "#0e7490", "#b45309", "#be185d", "#6b7280", "#4d7c0f")
_DASHES = ("", "", "7 3", "2 3", "9 3 2 3", "5 2", "1 2", "12 4", "4 4")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 520, 300, 52, 40


def spans(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """A bar a method as long as its figure, with its interval as a line over it."""
    top = max([row["ci_high"] for row in rows.values()] + [1e-9])
    lines = []
    for method, row in rows.items():
        low, high = row["ci_low"] / top, row["ci_high"] / top
        bar = f'<i><b style="width:{row["value"] / top:.1%}"></b></i><u style="left:{low:.1%};width:{max(0.002, high - low):.1%}"></u>'
        lines.append(f'<dt>{escape(method)}</dt><dd class="span">{bar}</dd><dd>{row["value"]:.4f}</dd>')
    return f'<dl class="bars spans">{"".join(lines)}</dl>'


def curves(series: Mapping[str, Sequence[float]], own: Sequence[str]) -> str:
    """NDCG@k over k, one line a method; those of ``own`` are drawn thick. The legend is in the order of the ends."""
    length = len(next(iter(series.values())))
    top = max(max(values) for values in series.values()) * 1.05 or 1.0
    style = _styles(series, own)
    lines = "".join(
        f'<polyline points="{_points(values, length, top)}" {style[method]}><title>{escape(method)}</title></polyline>'
        for method, values in series.items()
    )
    axes = "".join((*_across(length), *_up(top)))
    drawing = f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="NDCG at k for k from 1 to {length}">{axes}{lines}</svg>'
    ends = sorted(series, key=lambda method: -series[method][-1])
    legend = "".join(
        f'<li><svg viewBox="0 0 32 12"><line x1="0" y1="6" x2="32" y2="6" {style[method]}/></svg>{escape(method)} {series[method][-1]:.4f}</li>'
        for method in ends
    )
    return f'{drawing}<ul class="legend">{legend}</ul>'


def _styles(series: Mapping[str, Sequence[float]], own: Sequence[str]) -> dict[str, str]:
    others = [method for method in series if method not in own]
    places = {method: place for place, method in enumerate(own)} | {
        method: 2 + place for place, method in enumerate(others)
    }
    return {
        method: f'stroke="{_COLOURS[place % len(_COLOURS)]}" stroke-width="{4 if method in own else 2}"'
        + (f' stroke-dasharray="{_DASHES[place % len(_DASHES)]}"' if _DASHES[place % len(_DASHES)] else "")
        for method, place in places.items()
    }


def _points(values: Sequence[float], length: int, top: float) -> str:
    return " ".join(f"{_x(k, length):.1f},{_y(value, top):.1f}" for k, value in enumerate(values, start=1))


def _x(k: int, length: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - 10) * (k - 1) / max(1, length - 1)


def _y(value: float, top: float) -> float:
    return 10 + (_HEIGHT - _BOTTOM - 10) * (1 - value / top)


def _across(length: int) -> list[str]:
    ground = _HEIGHT - _BOTTOM
    marks = [k for k in (1, 5, 10, 15, 20, 50, 100) if k <= length]
    labels = [f'<text x="{_x(k, length):.0f}" y="{ground + 18}" text-anchor="middle">{k}</text>' for k in marks]
    line = f'<line x1="{_LEFT}" y1="{ground}" x2="{_WIDTH - 10}" y2="{ground}" stroke="var(--soft)"/>'
    return [line, *labels, f'<text x="{(_WIDTH + _LEFT) / 2:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">k</text>']


def _up(top: float) -> list[str]:
    """Grid lines at round values."""
    step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if top / step <= 6)
    marks = [step * place for place in range(1, int(top / step) + 1)]
    digits = 3 if step < 0.01 else 2
    return [
        f'<line x1="{_LEFT}" y1="{_y(value, top):.1f}" x2="{_WIDTH - 10}" y2="{_y(value, top):.1f}" stroke="var(--line)"/>'
        f'<text x="{_LEFT - 6}" y="{_y(value, top) + 5:.1f}" text-anchor="end">{value:.{digits}f}</text>'
        for value in marks
    ]
