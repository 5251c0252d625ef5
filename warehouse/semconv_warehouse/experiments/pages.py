"""Parts of Markdown pages that the tables of the paper and leaderboards share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any


def command_line(result: Mapping[str, Any], *options: str) -> str:
    """Return the command of an experiment: its settings, its table, its split and further options."""
    settings = [word for name, value in result["settings"].items() for word in ("--set", f"{name}={value}")]
    return shlex.join(["semconv", *settings, "experiment", result["argument"], "--split", result["split"], *options])


def number(value: float | None, form: str) -> str:
    """Return a number in the form of a format specification; an empty text for no number."""
    return "" if value is None else f"{value:{form}}"


def interval(low: float | None, high: float | None, sign: str = "") -> str:
    """Return an interval; an empty text if there is none."""
    return "" if low is None or high is None else f"({low:{sign}.4f} to {high:{sign}.4f})"


def difference(value: float | None, low: float | None, high: float | None) -> str:
    """Return a difference with its interval; an empty text if there is none."""
    return "" if value is None else f"{value:+.4f} {interval(low, high, '+')}"


def with_interval(row: Mapping[str, Any], name: str) -> tuple[Any, Any, Any]:
    """Return a figure of a row and the ends of its interval, ``NAME_low`` and ``NAME_high``."""
    return row[name], row[f"{name}_low"], row[f"{name}_high"]


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *lines))
