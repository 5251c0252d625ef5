"""The clock. All code that records a time calls :func:`utc_now`."""

from __future__ import annotations

import time
from datetime import UTC, datetime

seconds_since_1970 = time.time  # Tests that set the clock forward or back replace this function.


def utc_now() -> datetime:
    """Return the current time in UTC. If the clock was set back, this time can be earlier than the last one."""
    return datetime.fromtimestamp(seconds_since_1970(), UTC)


def as_timestamp(moment: datetime) -> datetime:
    """Convert a moment to UTC and drop its time zone, as the warehouse's TIMESTAMP columns need it."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
