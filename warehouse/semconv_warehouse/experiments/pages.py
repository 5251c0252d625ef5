"""Parts of Markdown pages that the tables of the paper and leaderboards share."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float | None, form: str) -> str:
    """Return a number in the form of a format specification; an empty text for no number."""
    return "" if value is None else f"{value:{form}}"


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *lines))
