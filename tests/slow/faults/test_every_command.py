"""Every writing command is killed at its writes, and every pair of commands runs with a kill in the first.

Afterwards `semconv forget` runs, and no file of the project contains the user: neither the id nor a word of the user.

SEMCONV_TEST_KILLS says how often a command is killed: a number of kills (3 by default), `each` of its writes, where a
command that does what other commands do is killed 25 times, or `all` writes of all commands. `make test-kills` sets
`each` and tries the pairs too, which takes hours.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.worlds.command import Commands
from tests.worlds.faults import killed_commands as case
from tests.worlds.faults.command_cases import CASES, READING, CommandCase, all_commands

_PAIRED = [tried for tried in CASES if tried.is_paired]
_COUNTS = case.Counts()
_OF_REPEATED = 25  # kills of a command that repeats the writes of others
_KILLS = os.environ.get("SEMCONV_TEST_KILLS", "3")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> case.World:
    return case.make_world(tmp_path_factory.mktemp("world"))


def _most(tried: CommandCase) -> int | None:
    if _KILLS not in ("each", "all"):
        return int(_KILLS)
    return _OF_REPEATED if (tried.is_composed or tried.is_variant) and _KILLS == "each" else None


@pytest.mark.parametrize("tried", READING, ids=[tried.name for tried in READING])
def test_a_command_that_is_said_to_read_writes_nothing(
    seeing: Commands, world: case.World, tmp_path: Path, tried: CommandCase
) -> None:
    done = case.run(seeing, world, case.copied(world, tmp_path / "project", tried), tried, kill_write=0)
    assert "internal error" not in done.stderr
    assert done.writes == []


@pytest.mark.parametrize("tried", CASES, ids=[tried.name for tried in CASES])
def test_a_kill_at_every_write_leaves_nothing_of_a_forgotten_user(
    seeing: Commands, world: case.World, tmp_path: Path, tried: CommandCase
) -> None:
    done = case.undisturbed(seeing, world, tmp_path / "undisturbed", tried)
    assert done.writes, f"{tried.name} writes nothing here, so no kill is tried"
    points = case.planned_kills(done, _most(tried))
    kills = [case.kill_and_forget(seeing, world, tmp_path / "project", tried, point) for point in points]
    _COUNTS.writes[tried.name], _COUNTS.kills[tried.name] = len(done.writes), sum(kills)
    assert sum(kills) >= 0.8 * len(kills)  # threads of DuckDB differ in their number of writes


@pytest.mark.kills
@pytest.mark.parametrize("first", _PAIRED, ids=[tried.name for tried in _PAIRED])
def test_every_command_may_follow_a_killed_one(
    seeing: Commands, world: case.World, tmp_path: Path, first: CommandCase
) -> None:
    points = case.planned_kills(case.undisturbed(seeing, world, tmp_path / "undisturbed", first), 3)
    states = [tmp_path / f"killed-{number}" for number in range(len(points))]
    for state, point in zip(states, points, strict=True):
        case.killed(seeing, world, state, first, point)
    for number, second in enumerate(_PAIRED):
        after = case.World(states[number % len(states)], world.inputs, world.blend)
        root = case.copied(after, tmp_path / "project", second)
        done = case.run(seeing, after, root, second)
        # Lists of a user who is erased already are refused. The project has two generations, so a rollback is refused after
        # another one that took place, or after `prune`.
        has_one_left = first.command == ("prune",) or "--rollback" in first.words
        is_refused = (
            first.command == ("forget",) or second.may_refuse or (has_one_left and "--rollback" in second.words)
        )
        allowed = (0, 4) if is_refused else (0,)
        assert done.status in allowed, (first.name, second.name, done.stderr)
        case.require_forgotten(seeing, after, root, (first.name, second.name))
        _COUNTS.pairs += 1
        shutil.rmtree(root)


def test_every_command_of_the_command_line_was_tried(capsys: pytest.CaptureFixture[str]) -> None:
    assert {tried.command for tried in (*CASES, *READING)} == set(all_commands())
    with capsys.disabled():
        print(json.dumps({"kills": json.loads(case.as_json(_COUNTS))}))  # noqa: T201
