"""Fixtures that cost something: each is made once in a test run, and any test may ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worlds.command import Commands
from tests.worlds.demo import Demo, make_saved_demo, saved_demo
from tests.worlds.once import made_once


@pytest.fixture(scope="session")
def demo() -> Demo:
    """The finished demo; tests read it, or change a copy."""
    return saved_demo(made_once("demo", make_saved_demo))


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """A server that runs commands in processes of their own."""
    server = Commands()
    yield server
    server.close()
