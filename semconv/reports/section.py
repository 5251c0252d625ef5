"""The form of the code report: a section, and how its figures are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Grade = Literal["good", "fair", "poor"]
Cell = str | tuple[str, str]  # a text, or a text and a remark in small print below it


@dataclass(frozen=True)
class Section:
    """One subject of the report."""

    key: str
    title: str
    meaning: str  # what the figures are, for someone who does not know the method
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
        """The grade in a word."""
        due = {"good": "not due", "poor": "due"}
        return due.get(self.grade or "", "") if self.key == "refit" else self.grade or ""


def count(value: int | None) -> str:
    """A whole number, a dash where there is none."""
    return "–" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """A share, as many digits as tell."""
    if value is None:
        return "–"
    return "0%" if value == 0 else "<0.01%" if value < 0.0001 else f"{value:.2%}" if value < 0.1 else f"{value:.1%}"


def times(row: Mapping[str, float | None]) -> str:
    """How many times the overlap by chance; a dash where either is missing or zero."""
    within, shuffled = row["within"], row["shuffled"]
    return "–" if within is None or not shuffled else f"{within / shuffled:.1f}"
