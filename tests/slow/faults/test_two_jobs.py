"""Further pairs of commands at once, which meet at the same locks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds.command import Commands
from tests.worlds.faults.two_jobs import (
    BEGINNING,
    BUILT,
    COPYING,
    FORGETTING,
    MERGING,
    PRUNING,
    RENAMED,
    SIDE_BY_SIDE,
    WRITING_PARTS,
    Two,
    make_template,
    require_both_end_well,
    require_second_is_refused,
)
from tests.worlds.faults.writing_commands import copied

MORE_EXCLUSIVE = [  # the same locks in other pairs
    ("publish", RENAMED, "publish"),
    ("publish", BUILT, "rollback"),
    ("publish", BUILT, "prune"),
    ("publish", COPYING, "load"),
    ("publish", COPYING, "interactions"),
    ("load", BEGINNING, "load"),
    ("load", WRITING_PARTS, "forget"),
    ("interactions", MERGING, "items"),
    ("prune", PRUNING, "publish"),
    ("forget", FORGETTING, "publish"),
    ("forget", FORGETTING, "prune"),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("two"))


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "project")


@pytest.mark.parametrize(("first", "moment", "second"), MORE_EXCLUSIVE)
def test_the_second_command_names_the_process_of_the_first(
    commands: Commands, template: Path, root: Path, tmp_path: Path, first: str, moment: str, second: str
) -> None:
    require_second_is_refused(Two(commands, template, root, tmp_path), first, moment, second)


@pytest.mark.parametrize(("first", "moment", "second"), SIDE_BY_SIDE[1:])
def test_commands_without_a_common_lock_both_succeed(
    commands: Commands, template: Path, root: Path, tmp_path: Path, first: str, moment: str, second: str
) -> None:
    require_both_end_well(Two(commands, template, root, tmp_path), first, moment, second)
