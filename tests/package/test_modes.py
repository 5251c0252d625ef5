"""Modes of all files that commands write, whatever the umask; temporary names; locks that no reader can hold."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from semconv.artifacts import atomic_path, private_path, write_bytes
from semconv.locks import run_lock
from semconv.modes import closed_umask, make_folder
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from semconv_warehouse.publish.publishing import publish
from tests.worlds.demo import Demo
from tests.worlds.published import make_project

NOBODY = 65534


@pytest.fixture(params=[0o000, 0o002, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def _modes(folder: Path) -> dict[str, int]:
    paths = [folder, *folder.rglob("*")]
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in paths if not path.is_symlink()
    }


def _semconv(root: Path, *args: str) -> None:
    result = CliRunner().invoke(cli, ["--project", str(root), *args])
    assert result.exit_code == 0, result.output


def test_commands_write_with_the_same_modes_under_every_umask(tmp_path: Path, umask: int) -> None:
    root = tmp_path / "project"
    rows = tmp_path / "rows.csv"
    rows.write_text("user_id,item_id,event_time,title\nu,i,2024-01-01,lamp\n,i,2024-01-01,lamp\n")
    assert CliRunner().invoke(cli, ["init", str(root)]).exit_code == 0
    _semconv(root, "ingest", "items", str(rows))
    _semconv(root, "ingest", "interactions", str(rows), "--rejected", str(tmp_path / "rejected.csv"))
    _semconv(root, "features", "apply")
    modes = _modes(root)
    assert {name for name, mode in modes.items() if mode & 0o022} == set()
    assert {name for name, mode in modes.items() if name.startswith("data") and mode & 0o007} == set()
    assert (modes["."], modes["data"], modes["data/runs"], modes["data/generations"]) == (0o755, 0o750, 0o750, 0o750)
    assert modes["data/warehouse.duckdb"] == 0o600
    assert {modes[f"feature_repo/{path.name}"] for path in (root / "feature_repo").glob("*.py")} == {0o644}
    assert {mode for name, mode in modes.items() if Path(name).name == "lock"} == {0o600}
    assert stat.S_IMODE((tmp_path / "rejected.csv").stat().st_mode) == 0o600
    assert os.umask(umask) == umask
    assert [row["detail"] for row in Project.open(root).doctor() if row["check"] == "permissions"] == [
        "only the owner can write"
    ]


def test_all_stages_and_a_publish_leave_no_file_open_to_others(demo: Demo) -> None:
    modes = _modes(demo.folder)
    assert {name for name, mode in modes.items() if mode & 0o022} == set()
    assert {name for name, mode in modes.items() if name.startswith("data/runs/") and mode & 0o007} == set()
    assert modes["data/serving.duckdb"] == 0o444
    assert modes["input/interactions.parquet"] == 0o600
    assert {path.suffix for path in (demo.folder / "data" / "runs").rglob("*") if path.is_file()} >= {
        ".safetensors",
        ".json",
        ".parquet",
        ".svg",
    }


def test_a_group_and_its_bit_are_passed_on_to_new_folders(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o2750)
    make_folder(tmp_path / "data" / "runs" / "one")
    assert stat.S_IMODE((tmp_path / "data" / "runs" / "one").stat().st_mode) == 0o2750


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("data/generations", 0o770, "data/generations can be written by the group; run `chmod g-w` on each of these"),
        (
            "data/generations/000001.duckdb",
            0o464,
            "data/generations/000001.duckdb, data/serving.duckdb can be written by the group",
        ),
        ("data/runs", 0o752, "data/runs can be written by everybody"),
        ("feature_repo", 0o775, "feature_repo can be written by the group"),
        ("feature_repo/views.py", 0o664, "feature_repo/views.py can be written by the group"),
        ("semconv.toml", 0o664, "semconv.toml can be written by the group"),
        (".", 0o775, ". can be written by the group"),
        ("data", 0o755, "data can be opened by everybody; run `chmod o-rwx` on each of these"),
        ("data/warehouse.duckdb", 0o640, "data/warehouse.duckdb can be opened by others than its owner"),
        ("data/generations/lock", 0o644, "data/generations/lock can be opened by others than its owner"),
    ],
)
def test_doctor_checks_the_group_and_others(tmp_path: Path, name: str, mode: int, message: str) -> None:
    layout, store = make_project(tmp_path / "project")
    publish(layout, store, "recommend-1")
    layout.root.chmod(0o755)
    layout.data.chmod(0o750)
    make_folder(layout.feature_repo, 0o755)
    write_bytes(layout.feature_repo / "views.py", b"", 0o644)
    layout.settings_file.chmod(0o644)
    (layout.root / name).chmod(mode)
    result = CliRunner().invoke(cli, ["--project", str(layout.root), "doctor"])
    assert result.exit_code == 1
    assert message in result.stdout


def test_temporary_names_cannot_be_guessed(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        with atomic_path(tmp_path / "file") as temporary, private_path(tmp_path / "file") as path:
            folder = path.parent
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            names += [temporary.name, folder.name]
    assert len(set(names)) == 6
    assert not any(str(os.getpid()) in name.replace("file", "") and len(name) < 24 for name in names)


def test_no_link_at_a_temporary_name_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even somebody who could guess the name gets an error out of it, and no file of the owner is overwritten."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    monkeypatch.setattr("semconv.modes.secrets.token_hex", lambda size: "guessed")
    for name in (".file.guessed.tmp", f".file.{os.getpid()}.tmp"):
        (tmp_path / name).symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_bytes(tmp_path / "file", b"content")
    with pytest.raises(FileExistsError), private_path(tmp_path / "file"):
        pass
    assert victim.read_text() == "mine"


def test_a_link_in_place_of_the_finished_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    writing = atomic_path(tmp_path / "file")
    temporary = writing.__enter__()
    temporary.unlink()
    temporary.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        writing.__exit__(None, None, None)
    assert victim.read_text() == "mine"
    assert stat.S_IMODE(victim.stat().st_mode) != 0o640


def test_a_lock_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"), run_lock(tmp_path / "runs"):
        pass
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_lock_with_an_old_mode_is_closed(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "lock").chmod(0o664)
    with run_lock(tmp_path):
        assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_umasks_of_nested_and_overlapping_blocks(umask: int) -> None:
    with closed_umask():
        with closed_umask():
            assert os.umask(0o777) == umask | 0o027
            os.umask(umask | 0o027)
        assert os.umask(umask | 0o027) == umask | 0o027
    first, second = closed_umask(), closed_umask()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.umask(umask | 0o027) == umask | 0o027
    second.__exit__(None, None, None)
    assert os.umask(umask) == umask


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_reader_of_the_group_cannot_stall_or_replace(tmp_path: Path) -> None:
    """A member of the group reads the served file, and can neither lock nor write anything that a publish needs."""
    layout, store = make_project(tmp_path / "project")
    publish(layout, store, "recommend-1")
    for folder in (layout.root, layout.data, *layout.data.rglob("*")):
        os.chown(folder, 0, NOBODY)
    for folder in (layout.root, *tmp_path.parents, tmp_path):
        folder.chmod(folder.stat().st_mode | 0o055)
    reader = (
        "import fcntl, os, sys, time\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "locked, written = [], []\n"
        "held = []\n"
        "for folder, _, names in os.walk(sys.argv[1]):\n"
        "    for name in [*names, '']:\n"
        "        path = os.path.join(folder, name)\n"
        "        try:\n"
        "            held.append(os.open(path, os.O_RDONLY)); fcntl.flock(held[-1], fcntl.LOCK_SH); fcntl.lockf(held[-1], fcntl.LOCK_SH)\n"
        "        except OSError: pass\n"
        "        else: locked.append(path)\n"
        "        if os.access(path, os.W_OK): written.append(path)\n"
        "print(len(locked), written, any(path.endswith(('lock', 'warehouse.duckdb')) for path in locked), flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", reader, str(layout.data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        locked, _, rest = process.stdout.readline().partition(" ")
        assert int(locked) > 0  # the served file, at least
        assert rest.strip() == "[] False"
        assert publish(layout, store, "recommend-1", evaluate_run_ids=["evaluate-1"]).generation == 2
    finally:
        process.communicate("")
