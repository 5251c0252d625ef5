"""What holds for the whole test run."""

import atexit
import os
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.worlds")
pytest_plugins = ["tests.worlds.fixtures"]


def _end_stderr() -> None:
    """DuckDB's binding lists live objects on stderr at exit; the runner's summary stays the last word."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)


def pytest_configure() -> None:
    atexit.register(_end_stderr)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in tests/slow has the marker slow, every one in tests/services the marker services."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in ("slow", "services"):
            item.add_marker(folder)
