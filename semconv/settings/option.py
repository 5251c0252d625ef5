"""Define one field of a settings section."""

from __future__ import annotations

import dataclasses
from typing import Any

Names = tuple[str, ...]  # a list of names, such as ["purchase", "cart"]
NamedNumbers = tuple[tuple[str, float], ...]  # numbers by name, such as { view = 0.1, cart = 0.3 }


def option(default: Any, doc: str, *, low: float | None = None, high: float | None = None) -> Any:
    """Return a settings field with a default, a description and, for numbers, an inclusive range."""
    return dataclasses.field(default=default, metadata={"doc": doc, "low": low, "high": high})
