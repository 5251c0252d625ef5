"""Fixtures that cost something: each is made once in a test run, and any test may ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worlds.command import Commands
from tests.worlds.demo import Demo, make_saved_demo, saved_demo
from tests.worlds.faults.writes import compiled_library
from tests.worlds.once import made_once


@pytest.fixture(scope="session")
def demo() -> Demo:
    """The finished demo; tests read it, or change a copy."""
    return saved_demo(made_once("demo", make_saved_demo))


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """A server that runs commands in processes of their own."""
    server = Commands(compiled_library(tmp_path_factory.mktemp("library")))
    yield server
    server.close()


@pytest.fixture(scope="session")
def seeing(commands: Commands) -> Commands:
    """The server of commands, if it sees every change of files below Python."""
    if not commands.sees_writes:
        pytest.skip("writes below Python are seen through a small C library, and no C compiler is installed")
    return commands
