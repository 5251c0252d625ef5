"""Two commands at once on one project: the first goes on, the second names its process and ends with 3, nothing is lost.

Both are real processes. The first one is stopped at a moment of its work, the second one runs from beginning to end,
then the first one continues.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.worlds.command import Commands
from tests.worlds.faults.two_jobs import (
    BUILT,
    COPYING,
    MERGING,
    PLANNING,
    PRUNING,
    SIDE_BY_SIDE,
    WRITING_PARTS,
    Two,
    make_template,
    require_both_end_well,
    require_clean,
    require_second_is_refused,
    words,
)
from tests.worlds.faults.writing_commands import copied

# The first command, where it is stopped, and the second one, which needs the same lock.
EXCLUSIVE = [
    ("publish", BUILT, "publish"),
    pytest.param("publish", BUILT, "forget", marks=pytest.mark.slow),
    pytest.param("load", WRITING_PARTS, "load", marks=pytest.mark.slow),
    ("interactions", MERGING, "publish"),
    ("prune", PRUNING, "materialize"),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("two"))


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "project")


@pytest.mark.parametrize(("first", "moment", "second"), EXCLUSIVE)
def test_the_second_command_names_the_process_of_the_first(
    commands: Commands, template: Path, root: Path, tmp_path: Path, first: str, moment: str, second: str
) -> None:
    require_second_is_refused(Two(commands, template, root, tmp_path), first, moment, second)


@pytest.mark.parametrize(("first", "moment", "second"), SIDE_BY_SIDE[:1])
def test_commands_without_a_common_lock_both_succeed(
    commands: Commands, template: Path, root: Path, tmp_path: Path, first: str, moment: str, second: str
) -> None:
    require_both_end_well(Two(commands, template, root, tmp_path), first, moment, second)


def test_two_publishes_of_the_same_lists_make_one_generation(commands: Commands, template: Path, root: Path) -> None:
    working = commands.start(root, "publish", "--json", stop_in=PLANNING)
    beside = commands.run(root, "publish", "--json")
    done = commands.wait(working)
    published = [json.loads(run.stdout) for run in (beside, done)]
    assert [entry["generation"] for entry in published] == [3, 3]
    assert [entry["is_new"] for entry in published] == [True, False]


@pytest.mark.parametrize(
    ("first", "moment", "second"),
    [
        ("publish", BUILT, "publish"),
        pytest.param("load", WRITING_PARTS, "load", marks=pytest.mark.slow),
        pytest.param("interactions", MERGING, "items", marks=pytest.mark.slow),
        ("prune", PRUNING, "forget"),
    ],
)
def test_with_wait_the_second_command_runs_after_the_first(
    commands: Commands, template: Path, root: Path, first: str, moment: str, second: str
) -> None:
    # The first waits too: the second, while it starts, holds the warehouse for a moment in order to read it.
    working = commands.start(root, "--wait", "120", *words(template, first), stop_in=moment)
    impatient = commands.run(root, "--wait", "0.4", *words(template, second))
    patient = commands.start(root, "--wait", "120", *words(template, second))
    done, waited = commands.wait(working), commands.wait(patient)
    assert impatient.status == 3
    assert "tried for 0.4 s" in impatient.error
    assert (done.status, waited.status) == (0, 0), done.stderr + waited.stderr
    require_clean(root)


def test_reading_commands_run_beside_a_publish(commands: Commands, root: Path) -> None:
    working = commands.start(root, "publish", stop_in=COPYING)
    for reading in (
        ("show", "user", "u1"),
        ("sql", "FROM current_recommendation"),
        ("runs",),
        ("generations",),
        ("check",),
        ("doctor",),
    ):
        assert commands.run(root, *reading).status == 0, reading
    assert commands.wait(working).status == 0
