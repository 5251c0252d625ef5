"""Every command that writes, on a disk with little room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds.command import Commands
from tests.worlds.faults.full_disk import require_full_disk_is_survived
from tests.worlds.faults.writing_commands import (
    COMMANDS,
    Case,
    make_cases,
)


@pytest.fixture(scope="module")
def cases(commands: Commands) -> dict[str, Case]:
    return make_cases(commands)


@pytest.mark.parametrize("free", [300_000, 1_200_000])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk(commands: Commands, cases: dict[str, Case], tmp_path: Path, name: str, free: int) -> None:
    require_full_disk_is_survived(commands, cases[name], tmp_path / "disk", free)
