"""Read from the environment whether torchrun started this process, without importing torch."""

from __future__ import annotations

import os


def process_count() -> int:
    """Return the number of processes that torchrun started, or 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_follower() -> bool:
    """Return whether this process is not the first. Only the first process writes files and progress lines."""
    return process_count() > 1 and os.environ.get("RANK", "0") != "0"
