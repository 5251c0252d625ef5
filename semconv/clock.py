"""The clock. Every time that is recorded is read here."""

from __future__ import annotations

import time
from datetime import UTC, datetime

seconds_since_1970 = time.time  # tests of a clock that jumps replace this function


def utc_now() -> datetime:
    """Return the present time in UTC. It may be earlier than at the last call, if the clock was set back."""
    return datetime.fromtimestamp(seconds_since_1970(), UTC)


def as_timestamp(moment: datetime) -> datetime:
    """Return a moment in UTC without a time zone, as the warehouse's TIMESTAMP columns hold it."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
