"""The order of segments in every report."""

from __future__ import annotations

_DIVISIONS = ("all", "reachable", "history", "target popularity", "warm", "cold")


def segment_order(segment: str) -> tuple[int, int]:
    """Return the sort key of a segment of users such as 'history 5-9': the kind 'history', then the start 5."""
    division = next((n for n, name in enumerate(_DIVISIONS) if segment.startswith(name)), len(_DIVISIONS))
    start = segment.rpartition(" ")[2].rstrip("+").partition("-")[0]
    return division, int(start) if start.isdigit() else 0
