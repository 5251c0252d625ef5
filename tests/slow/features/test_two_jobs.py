"""Two materializations at once, and one beside an apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds.command import Commands
from tests.worlds.faults.writing_commands import copied
from tests.worlds.features.two_jobs import (
    APPLY,
    FILLED,
    MATERIALIZE,
    make_template,
    require_online,
    require_second_waits,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("features") / "project")


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "project")


@pytest.mark.parametrize(
    ("first", "moment", "second"), [(MATERIALIZE, FILLED, APPLY), (MATERIALIZE, FILLED, MATERIALIZE)]
)
def test_the_second_command_names_the_first(
    commands: Commands, root: Path, first: tuple[str, ...], moment: str, second: tuple[str, ...]
) -> None:
    require_second_waits(commands, root, first, moment, second)


def test_commands_that_begin_together_succeed_or_name_each_other(commands: Commands, root: Path) -> None:
    begun = [commands.start(root, *words) for words in (MATERIALIZE, MATERIALIZE, APPLY)]
    for other, done in zip(begun, [commands.wait(each) for each in begun], strict=True):
        assert done.status in (0, 3), done.stderr
        if done.status == 3:
            assert any(f"process {each['pid']}" in done.error for each in begun if each != other), done.error
    assert commands.run(root, *MATERIALIZE).status == 0
    require_online(commands, root, 1)
