"""One field of the settings."""

from __future__ import annotations

import dataclasses
from typing import Any


def option(
    default: Any, doc: str, *, low: float | None = None, high: float | None = None, is_late: bool = False
) -> Any:
    """A settings field: its default, its documentation and, for numbers, its inclusive range.

    A late field is left out of a run's settings while it has its default, so that runs that were made
    before the field existed stay the runs of the same settings.
    """
    metadata = {"doc": doc, "low": low, "high": high, "is_late": is_late}
    return dataclasses.field(default=default, metadata=metadata)
