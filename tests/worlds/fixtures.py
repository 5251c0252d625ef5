"""Fixtures that cost something: each is made once in a test run, and any test may ask for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.worlds.command import Commands
from tests.worlds.demo import Demo, make_saved_demo, saved_demo
from tests.worlds.once import MadeOnce


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Folders that are the same for all processes of the test run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # then the folder of this process, in the one of all
        folder = folder.parent
    return MadeOnce(folder / "made-once")


@pytest.fixture(scope="session")
def demo(made_once: MadeOnce) -> Demo:
    """The finished demo; tests read it, or change a copy."""
    return saved_demo(made_once("demo", make_saved_demo))


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """A server that runs commands in processes of their own."""
    server = Commands()
    yield server
    server.close()
