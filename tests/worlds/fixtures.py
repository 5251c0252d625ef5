"""Fixtures that cost something: each is made once in a test run, and any test may ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.worlds.command import Commands
from tests.worlds.once import made_once

if TYPE_CHECKING:
    from tests.worlds.demo import Demo


@pytest.fixture(scope="session")
def demo() -> Demo:
    """The finished demo; tests read it, or change a copy."""
    from tests.worlds.demo import make_saved_demo, saved_demo  # the process that distributes tests needs none of it

    return saved_demo(made_once("demo", make_saved_demo))


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """A server that runs commands in processes of their own."""
    connected = Commands()
    yield connected
    connected.close()


@pytest.fixture(scope="session")
def seeing(commands: Commands) -> Commands:
    """The server of commands, if it sees every change of files below Python."""
    if not commands.sees_writes:
        pytest.skip("writes below Python are seen through a small C library, and no C compiler is installed")
    return commands
