"""What time it is: the one place where the system's clock is read for anything that is recorded."""

from __future__ import annotations

import time
from datetime import UTC, datetime

seconds_since_1970 = time.time  # a test of a clock that jumps puts another function here


def utc_now() -> datetime:
    """The present, in UTC. A clock may have been set back since the last call."""
    return datetime.fromtimestamp(seconds_since_1970(), UTC)
