"""What holds for the whole test run."""

import atexit
import gc
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

# Tensors and tables of the tests are small, and two test processes run at the same time.
for _threads in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

settings.register_profile("no test asserts a time", deadline=None)
settings.load_profile("no test asserts a time")

pytest.register_assert_rewrite("tests.worlds")
pytest_plugins = ["tests.worlds.fixtures"]


def _end_stderr() -> None:
    """DuckDB's binding lists live objects on stderr at exit; the runner's summary stays the last word."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)


def pytest_configure() -> None:
    atexit.register(_end_stderr)
    from tests.worlds.once import begin_test_run  # after its assertions are registered to be rewritten

    of_run = begin_test_run()
    if of_run is not None:
        atexit.register(shutil.rmtree, of_run, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in tests/slow has the marker slow, and every one in tests/services services, or a marker of its own."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        has_own = any(item.get_closest_marker(name) for name in ("kills", "clients"))
        if folder in ("slow", "services") and not has_own:
            item.add_marker(folder)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from visiting the objects of the imported libraries again and again."""
    gc.collect()
    gc.freeze()
