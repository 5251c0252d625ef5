"""Two commands that write features at once: each succeeds or names the other, and the newest generation is online."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds.command import Commands
from tests.worlds.faults.writing_commands import copied
from tests.worlds.features.two_jobs import (
    APPLY,
    APPLYING,
    MATERIALIZE,
    make_template,
    require_online,
    require_second_waits,
)

BEFORE_THE_LOCK = "semconv_warehouse.features.online:features_lock"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("features") / "project")


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "project")


@pytest.mark.parametrize(("first", "moment", "second"), [(APPLY, APPLYING, MATERIALIZE)])
def test_the_second_command_names_the_first(
    commands: Commands, root: Path, first: tuple[str, ...], moment: str, second: tuple[str, ...]
) -> None:
    require_second_waits(commands, root, first, moment, second)


def test_a_waiting_materialize_includes_a_later_publication(commands: Commands, root: Path) -> None:
    waiting = commands.start(root, *MATERIALIZE, stop_in=BEFORE_THE_LOCK)
    for words in (("publish",), MATERIALIZE):
        assert commands.run(root, *words).status == 0
    assert commands.wait(waiting).status == 0
    require_online(commands, root, 2)
