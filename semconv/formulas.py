"""Cells of CSV files that a spreadsheet would compute as a formula."""

from __future__ import annotations

import re

# Spreadsheets also take the full-width forms of these signs, and skip blanks and control characters before them.
_FORMULA = re.compile(r"[\s\x00-\x1f]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def without_formula(text: str) -> str:
    """Return the text of a cell, after an apostrophe if a spreadsheet would compute it. Numbers stay as they are."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
