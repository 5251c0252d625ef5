"""A full disk or a read-only folder ends a command with 5 in one line; the old lists stay; the same command then succeeds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.worlds.command import Commands, Done
from tests.worlds.writing_commands import (
    COMMANDS,
    MODULES,
    Case,
    copied,
    leftovers,
    make_cases,
    served,
    state,
    warehouse,
)


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    server = Commands(*MODULES)
    yield server
    server.close()


@pytest.fixture(scope="module")
def cases(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return make_cases(commands, tmp_path_factory.mktemp("machine"))


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", *options, folder], capture_output=True).returncode:
        pytest.skip("this needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def fill(folder: Path, free: int) -> Path:
    """Fill the disk except for some bytes."""
    disk = os.statvfs(folder)
    filler = folder / "filler"
    filler.write_bytes(bytes(max(disk.f_bavail * disk.f_frsize - free, 0)))
    return filler


def require_one_line(done: Done) -> None:
    assert done.status == 5, (done.status, done.stderr)
    assert done.error.startswith("error: "), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("free", [0, *(pytest.param(free, marks=pytest.mark.slow) for free in (300_000, 1_200_000))])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk(commands: Commands, cases: dict[str, Case], tmp_path: Path, name: str, free: int) -> None:
    case = cases[name]
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=32m", "tmpfs") as disk:
        root = copied(case.root, disk / "project")
        filler = fill(disk, free)
        done = commands.run(root, *case.words)
        if done.status == 0 and free:  # the command needed less
            assert state(root) == case.after
            return
        require_one_line(done)
        assert "space" in done.error, done.error
        assert served(root) == case.before["served"]
        assert warehouse(root) == case.before["warehouse"]
        filler.unlink()
        again = commands.run(root, *case.words)
        assert again.status == 0, again.stderr
        assert state(root) == case.after
        assert leftovers(root) == []


@pytest.mark.parametrize("name", COMMANDS)
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
