"""What holds for the whole test run."""

import atexit
import os

import pytest

from tests.worlds.demo import Demo, make_demo


def _end_stderr() -> None:
    """DuckDB's binding lists live objects on stderr at exit; the runner's summary stays the last word."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)


def pytest_configure() -> None:
    atexit.register(_end_stderr)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once for all tests: they read it, or change a copy."""
    return make_demo(tmp_path_factory.mktemp("demo") / "shop")
