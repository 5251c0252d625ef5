"""A full disk or a read-only folder ends a command with 5 in one line; the old lists stay; the same command then succeeds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.worlds.command import Commands
from tests.worlds.faults.full_disk import mounted, require_full_disk_is_survived, require_one_line
from tests.worlds.faults.writing_commands import (
    COMMANDS,
    Case,
    copied,
    make_cases,
    served,
    state,
)

_QUICK = ("interactions", "publish")
_NAMES = [name if name in _QUICK else pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS]


@pytest.fixture(scope="module")
def cases(commands: Commands) -> dict[str, Case]:
    return make_cases(commands)


@pytest.mark.parametrize("free", [0])
@pytest.mark.parametrize("name", [*_NAMES[:-1], "materialize"])
def test_a_full_disk(commands: Commands, cases: dict[str, Case], tmp_path: Path, name: str, free: int) -> None:
    require_full_disk_is_survived(commands, cases[name], tmp_path / "disk", free)


@pytest.mark.parametrize("name", _NAMES)
def test_a_read_only_folder(commands: Commands, cases: dict[str, Case], tmp_path: Path, name: str) -> None:
    case = cases[name]
    root = copied(case.root, tmp_path / "project")
    with mounted(root, "--bind", str(root)):
        if subprocess.run(["mount", "-o", "remount,bind,ro", root], capture_output=True).returncode:
            pytest.skip("this needs the right to mount a folder read-only")
        done = commands.run(root, *case.words)
        require_one_line(done)
        assert "Read-only file system" in done.error
        for words in (("sql", "SELECT count(*) FROM recommendation"), ("show", "user", "u1")):
            assert commands.run(root, *words).status == 0
    assert served(root) == case.before["served"]
    assert commands.run(root, *case.words).status == 0
    assert state(root) == case.after


def test_a_folder_of_another_user_of_the_machine(commands: Commands, cases: dict[str, Case], tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("this needs the right to become another user")
    case = cases["publish"]
    root = copied(case.root, Path(subprocess.check_output(["mktemp", "-d"], text=True).strip()) / "project")
    root.parent.chmod(0o755)
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    done = commands.run(root, *case.words, user=65_534)
    require_one_line(done)
    assert "Permission denied" in done.error
    assert commands.run(root, "show", "user", "u1", user=65_534).status == 0
    assert served(root) == case.before["served"]
    assert commands.run(root, *case.words).status == 0
    assert state(root) == case.after
    subprocess.run(["rm", "-rf", root.parent], check=True)
