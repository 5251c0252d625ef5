"""A full disk causes one clear line and exit code 5; once there is room, the same command finishes."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from semconv.artifacts import machine_errors
from semconv.errors import MachineError
from semconv.progress import Task
from semconv_cli.main import cli
from semconv_warehouse.project import Project
from tests.worlds import listed
from tests.worlds import projects as case
from tests.worlds.command import Commands
from tests.worlds.parts import read_parts

SERVED = "SELECT user_id, rank, item_id, score FROM recommendation ORDER BY user_id, rank"
SMALL = [
    "tuning.epochs=1",
    "codebook.codes=16",
    "codebook.levels=2",
    "backbone.layers=1",
    "backbone.width=32",
    "tasks.negatives=0",
]


@pytest.fixture(params=["5m"])
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def write_files(folder: Path) -> None:
    draw = random.Random(0)
    items = [f"i{item},thing number {item}" for item in range(40)]
    rows = [
        f"u{user},i{item},{position}" for user in range(80) for position, item in enumerate(draw.sample(range(40), 6))
    ]
    (folder / "items.csv").write_text("item_id,title\n" + "\n".join(items))
    (folder / "rows.csv").write_text("user_id,item_id,source_position\n" + "\n".join(rows))


def test_a_full_disk_ends_a_stage_with_5_and_the_same_command_then_succeeds(
    commands: Commands, small_disk: Path, tmp_path: Path
) -> None:
    project = small_disk / "p"
    write_files(tmp_path)
    Project.init(project)
    assert commands.run(project, "ingest", "items", str(tmp_path / "items.csv")).status == 0
    assert commands.run(project, "ingest", "interactions", str(tmp_path / "rows.csv")).status == 0
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 60_000))
    options = [word for setting in SMALL for word in ("--set", setting)]

    full = commands.run(project, *options, "backbone", "create")
    assert full.status == 5, full.stderr
    assert full.error.startswith("error: ")
    assert "no space left" in full.stderr

    filler.unlink()
    assert commands.run(project, *options, "backbone", "create").status == 0


@pytest.mark.parametrize("small_disk", ["24m"], indirect=True)
def test_parts_written_before_the_disk_was_full_are_kept(small_disk: Path, tmp_path: Path) -> None:
    tuned = listed.make_tuned(tmp_path / "tuned")
    undisturbed = listed.copied(tuned, tmp_path / "undisturbed")
    rows = listed.lists(undisturbed, undisturbed.recommend())

    class Filling(case.Remarks):
        """Fills the disk once five parts are written."""

        def advance(self, amount: float, note: str = "") -> None:
            if len(list(small_disk.glob("p/data/runs/recommend-*/part-*"))) == 5:
                with pytest.raises(MachineError), machine_errors(small_disk):
                    (small_disk / "filler").write_bytes(b"x" * (64 << 20))

        def task(self, label: str, total: float, unit: str, done: float = 0.0) -> AbstractContextManager[Task]:
            return nullcontext(self)

    project = listed.copied(tuned, small_disk / "p")
    filling = Project.open(project.layout.root, progress=Filling())
    with pytest.raises(MachineError, match=r"part-\d+.parquet: no space left"):
        filling.recommend()
    (small_disk / "filler").unlink()
    (folder,) = small_disk.glob("p/data/runs/recommend-*")
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*")}
    assert len(before) >= 5
    assert not list(folder.glob(".*.tmp"))
    again = case.reopened(project)
    run = again.recommend()
    assert again.book.folder(run) == folder
    assert before.items() <= listed.parts(again, run).items()
    assert read_parts(folder).equals(rows)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tuned shop with two published nights and new interactions for a third one."""
    folder = tmp_path_factory.mktemp("nights")
    project = listed.copied(listed.make_tuned(folder / "tuned"), folder / "nights")
    for night in (0, 1, 2):
        late = case.write_lines(folder / "late.jsonl", case.events({case.user_id(4): [7 + night]}, start=50 + night))
        if night:
            project.ingest_interactions([late], {})
        if night < 2:
            project.publish_due(refit=False)
    assert len(project.generations()) == 2
    return project.layout.root


@pytest.mark.parametrize("small_disk", ["64m"], indirect=True)
@pytest.mark.parametrize(
    ("words", "free"),
    [
        pytest.param(("evaluate", "--split", "valid"), 0, marks=pytest.mark.slow),
        pytest.param(("evaluate", "--split", "valid"), 400_000, marks=pytest.mark.slow),
        pytest.param(("run",), 0, marks=pytest.mark.slow),
        (("run",), 400_000),
        (("prune", "--keep", "1"), 0),
        (("forget", "--user", "u002", "--yes"), 0),
        pytest.param(("forget", "--user", "u002", "--yes"), 400_000, marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_leaves_the_served_lists_and_the_same_command_then_finishes(
    nights: Path, small_disk: Path, words: tuple[str, ...], free: int
) -> None:
    project = listed.copied(nights, small_disk / "p")
    project.layout.serving.unlink()  # in a copy it is a second file, in a project a hard link
    os.link(project.layout.generation_file(2), project.layout.serving)
    served = project.sql(SERVED).to_pylist()
    filler, disk = small_disk / "filler", os.statvfs(small_disk)
    filler.write_bytes(bytes(disk.f_bavail * disk.f_frsize - free))
    full = command(project, *words)
    assert full.exit_code == 5, (full.output, full.exception)
    (line,) = [line for line in full.stderr.splitlines() if line.startswith("error: ")]
    assert "space" in line.lower()
    assert full.stderr.splitlines()[-1] == line
    seen = project.sql(SERVED).to_pylist()
    assert (
        seen in (served, [row for row in served if row["user_id"] != "u002"])
        if words[0] == "forget"
        else seen == served
    )
    filler.unlink()
    again = command(project, *words)
    assert again.exit_code == 0, (again.output, again.exception)
    assert all(result.passed for result in project.check())
    assert not list(project.layout.data.rglob(".*.tmp*"))
    assert project.sql("SELECT DISTINCT generation FROM recommendation").to_pylist() == [
        {"generation": 3 if words == ("run",) else 2}
    ]


def command(project: Project, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(project.layout.root), "-q", *words])
