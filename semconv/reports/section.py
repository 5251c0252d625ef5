"""One section of a report, and functions that format figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Grade = Literal["good", "fair", "poor"]
Cell = str | tuple[str, str]  # a text, or a text and a second text in small print below it


@dataclass(frozen=True)
class Section:
    """One section of a report, shown on the HTML page and in the terminal."""

    key: str
    title: str
    meaning: str  # explanation of the figures, for readers who do not know the method
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    grade: Grade | None = None
    verdict: str = ""
    notes: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """The verdict of the section, if it has one, and then its notes."""
        return (self.verdict, *self.notes) if self.verdict else self.notes

    @property
    def badge(self) -> str:
        """The word that shows the grade. In the section refit, the badge says whether a refit is due."""
        due = {"good": "not due", "poor": "due"}
        return due.get(self.grade or "", "") if self.key == "refit" else self.grade or ""


def count(value: int | None) -> str:
    """Return a whole number as text, or a dash for None."""
    return "–" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """Return a share as a percentage, with more digits for small shares, or a dash for None."""
    if value is None:
        return "–"
    return "0%" if value == 0 else "<0.01%" if value < 0.0001 else f"{value:.2%}" if value < 0.1 else f"{value:.1%}"


def times(row: Mapping[str, float | None]) -> str:
    """Return the ratio of a row's overlap to the overlap with random codes, or a dash if it cannot be computed."""
    within, shuffled = row["within"], row["shuffled"]
    return "–" if within is None or not shuffled else f"{within / shuffled:.1f}"
