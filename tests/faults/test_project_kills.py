"""kill -9 while lists are made: the next job ends with the lists of an undisturbed one. Other stages are in tests/slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds import listed
from tests.worlds.command import Commands
from tests.worlds.faults.killed_lists import require_lists_survive_kills


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return listed.make_tuned(tmp_path_factory.mktemp("lists") / "tuned")


@pytest.mark.parametrize(("seed", "kills", "shard_users"), [(0, 2, 4)])
def test_lists_of_a_job_that_is_killed_again_and_again_are_those_of_an_undisturbed_one(
    commands: Commands, tuned: Path, tmp_path: Path, seed: int, kills: int, shard_users: int
) -> None:
    require_lists_survive_kills(commands, tuned, tmp_path, seed, kills, shard_users)
