"""Kills below Python at a few writes of a few commands, then `forget`; tests/slow kills every command at every write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds import erasing
from tests.worlds.command import Commands
from tests.worlds.faults import killed_commands as case
from tests.worlds.faults.command_cases import CASES, READING, WITHOUT_FILES, CommandCase, all_commands, options_of
from tests.worlds.faults.writes import kill_points

_KILLS = 2
_TRIED = {
    ("ingest", "interactions"): ("{inputs}/rows.csv",),
    ("forget",): ("--user", "{erased}", "--yes"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> case.World:
    folder = tmp_path_factory.mktemp("world")
    (folder / "rows.csv").write_text(f"user_id,item_id,source_position\n{erasing.ERASED},i7,9\nnew,i1,1\n")
    erasing.copied(erasing.template(), folder / "served")
    return case.World(folder / "served", folder, "", erasing.ERASED)


def test_every_command_of_the_command_line_has_a_case() -> None:
    assert {tried.command for tried in (*CASES, *READING)} == set(all_commands())
    names = [tried.name for tried in (*CASES, *READING)]
    assert len(names) == len(set(names))


def test_every_option_has_a_case_or_writes_no_other_files() -> None:
    options = {(command, option) for command in all_commands() for option in options_of(command)}
    tried = {(of.command, option) for of in (*CASES, *READING) for option in of.options}
    assert {(command, option) for command, option in options - tried if option not in WITHOUT_FILES} == set()
    assert {option for _, option in options} >= WITHOUT_FILES


def test_moments_of_kills_are_the_changes_and_the_middle_of_long_writes() -> None:
    writes = ["open /a.tmp", *["write /a.tmp"] * 5, "chmod /a.tmp", "rename /b", "unlink /a.tmp", "write /x/lock"]
    assert kill_points([*writes, "write /c", "write /c", "unlink /a"]) == [1, 2, 4, 8, 11, 13]


@pytest.mark.parametrize("command", _TRIED, ids=" ".join)
def test_a_killed_command_leaves_nothing_of_a_forgotten_user(
    seeing: Commands, world: case.World, tmp_path: Path, command: tuple[str, ...]
) -> None:
    tried = CommandCase(command, (*command, *_TRIED[command]))
    done = case.undisturbed(seeing, world, tmp_path / "undisturbed", tried)
    points = case.planned_kills(done, _KILLS)
    kills = [case.kill_and_forget(seeing, world, tmp_path / "project", tried, point) for point in points]
    assert any(kills)
