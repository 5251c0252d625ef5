"""Whether torchrun started this process as one of several; read from its variables, without torch."""

from __future__ import annotations

import os


def process_count() -> int:
    """Processes of the launch, 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_follower() -> bool:
    """Whether another process, the first, owns the project and the screen."""
    return process_count() > 1 and os.environ.get("RANK", "0") != "0"
