"""kill -9 at ten moments of every command that writes."""

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


@pytest.fixture(scope="module")
def cases(commands: Commands) -> dict[str, Case]:
    return make_cases(commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_ten_times(commands: Commands, cases: dict[str, Case], tmp_path: Path, name: str) -> None:
    draw = random.Random(name)
    moments = [moment(draw, cases[name].undisturbed) for _ in range(10)]
    landed = [kill_and_repeat(commands, cases[name], tmp_path / str(k), when) for k, when in enumerate(moments)]
    assert sum(landed) >= 7
