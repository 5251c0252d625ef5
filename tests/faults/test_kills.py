"""kill -9 at random moments of every writing command: readers see the old state or the new one, never a mixture."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.worlds.command import Commands
from tests.worlds.faults.writing_commands import (
    COMMANDS,
    Case,
    kill_and_repeat,
    make_cases,
    moment,
)

_ATTEMPTS = 10  # a moment drawn by time may come after the command's end


@pytest.fixture(scope="module")
def cases(commands: Commands) -> dict[str, Case]:
    return make_cases(commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_once(commands: Commands, cases: dict[str, Case], tmp_path: Path, name: str) -> None:
    draw = random.Random(f"{name} once")
    moments = (moment(draw, cases[name].undisturbed) for _ in range(_ATTEMPTS))
    assert any(kill_and_repeat(commands, cases[name], tmp_path / "project", when) for when in moments)
