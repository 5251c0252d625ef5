"""What holds for the whole test run."""

import atexit
import os


def _end_stderr() -> None:
    """DuckDB's binding lists live objects on stderr at exit; the runner's summary stays the last word."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)


def pytest_configure() -> None:
    atexit.register(_end_stderr)
