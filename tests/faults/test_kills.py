"""kill -9 at random moments of every writing command: readers see the old state or the new one, never a mixture."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worlds.command import KILLED, Commands, Done
from tests.worlds.writing_commands import (
    COMMANDS,
    MODULES,
    Case,
    copied,
    leftovers,
    make_cases,
    served,
    state,
    warehouse,
)

_ATTEMPTS = 10  # a moment drawn by time may come after the command's end


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    server = Commands(*MODULES)
    yield server
    server.close()


@pytest.fixture(scope="module")
def cases(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return make_cases(commands, tmp_path_factory.mktemp("kills"))


def moment(draw: random.Random, undisturbed: Done) -> dict[str, float | int]:
    """Draw a moment to kill: at one of Python's accesses to project files, or at a time, then mostly in DuckDB or Feast."""
    if draw.random() < 0.5:
        return {"kill_event": draw.randint(1, undisturbed.events)}
    return {"kill_after": draw.random() * undisturbed.seconds}


def kill_and_repeat(commands: Commands, case: Case, root: Path, when: dict[str, float | int]) -> bool:
    """Kill a command, run it again and compare the result; tell whether the kill came before the command's end."""
    copied(case.root, root)
    killed = commands.run(root, *case.words, **when)
    assert killed.status in (KILLED, 0), (when, killed.stderr)
    assert served(root) in (case.before["served"], case.after["served"]), when
    assert warehouse(root) in (case.before["warehouse"], case.after["warehouse"], _unrecorded(case)), when
    again = commands.run(root, *case.words)
    assert again.status == 0, (when, again.stderr)
    assert state(root) == case.after, when
    assert leftovers(root) == [], when
    shutil.rmtree(root)
    return killed.status == KILLED


def _unrecorded(case: Case) -> dict[str, Any]:
    """The warehouse after a publish that was killed between renaming the file and recording the publication."""
    return {**case.after["warehouse"], "publication": case.before["warehouse"]["publication"]}


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_once(commands: Commands, cases: dict[str, Case], tmp_path: Path, name: str) -> None:
    draw = random.Random(f"{name} once")
    moments = (moment(draw, cases[name].undisturbed) for _ in range(_ATTEMPTS))
    assert any(kill_and_repeat(commands, cases[name], tmp_path / "project", when) for when in moments)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_ten_times(commands: Commands, cases: dict[str, Case], tmp_path: Path, name: str) -> None:
    draw = random.Random(name)
    moments = [moment(draw, cases[name].undisturbed) for _ in range(10)]
    landed = [kill_and_repeat(commands, cases[name], tmp_path / str(k), when) for k, when in enumerate(moments)]
    assert sum(landed) >= 7
