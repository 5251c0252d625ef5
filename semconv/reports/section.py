"""One section of a report, and how figures become text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Grade = Literal["good", "fair", "poor"]
Cell = str | tuple[str, str]  # a text, or a text and a remark in small print below it


@dataclass(frozen=True)
class Section:
    """One subject of a report, for the page and for the terminal."""

    key: str
    title: str
    meaning: str  # what the figures are, for readers who do not know the method
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    grade: Grade | None = None
    verdict: str = ""
    notes: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """The verdict, where there is one, and the notes."""
        return (self.verdict, *self.notes) if self.verdict else self.notes

    @property
    def badge(self) -> str:
        """The grade in a word or two."""
        due = {"good": "not due", "poor": "due"}
        return due.get(self.grade or "", "") if self.key == "refit" else self.grade or ""


def count(value: int | None) -> str:
    """Return a whole number as text; None is a dash."""
    return "–" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """Return a share as text, with more digits for small shares; None is a dash."""
    if value is None:
        return "–"
    return "0%" if value == 0 else "<0.01%" if value < 0.0001 else f"{value:.2%}" if value < 0.1 else f"{value:.1%}"


def times(row: Mapping[str, float | None]) -> str:
    """Return how many times the overlap by chance a row has; a dash if a value is missing or chance is zero."""
    within, shuffled = row["within"], row["shuffled"]
    return "–" if within is None or not shuffled else f"{within / shuffled:.1f}"
