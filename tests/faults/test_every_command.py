"""Kills below Python at a few writes of a few commands, then `forget`; tests/slow kills every command at every write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from semconv_warehouse.publish.publishing import publish
from tests.worlds import erasing
from tests.worlds.command import Commands
from tests.worlds.faults import killed_commands as case
from tests.worlds.faults.command_cases import CASES, READING, CommandCase, all_commands
from tests.worlds.faults.writes import compile_library, kill_points
from tests.worlds.published import recommendation_rows

_KILLS = 3
_TRIED = {
    ("ingest", "interactions"): ("{inputs}/rows.csv",),
    ("recommend", "load"): ("{inputs}/lists.parquet",),
    ("publish",): ("--rollback",),
    ("features", "materialize"): ("--again",),
    ("forget",): ("--user", "{erased}", "--yes"),
}


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    server = Commands(compile_library(tmp_path_factory.mktemp("library")))
    yield server
    server.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> case.World:
    folder = tmp_path_factory.mktemp("world")
    (folder / "rows.csv").write_text(f"user_id,item_id,source_position\n{erasing.ERASED},i7,9\nnew,i1,1\n")
    pq.write_table(recommendation_rows({erasing.ERASED: ["i5", "i6"]}), folder / "lists.parquet")
    # The second generation is served, so that a rollback has somewhere to go.
    project = erasing.copied(erasing.template(), folder / "served")
    publish(project.layout, project.store, "recommend-2")
    return case.World(folder / "served", folder, erasing.ERASED)


def test_every_command_of_the_command_line_has_a_case() -> None:
    named = {tried.command for tried in CASES} | set(READING)
    assert named == set(all_commands())
    assert not {tried.command for tried in CASES} & set(READING)


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
