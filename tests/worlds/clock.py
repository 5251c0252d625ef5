"""The clock at a given moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from semconv import clock


@contextmanager
def clock_at(moment: datetime) -> Iterator[None]:
    """Stop the clock at ``moment`` inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "seconds_since_1970", moment.timestamp)
        yield
