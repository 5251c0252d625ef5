"""A full disk: one clear line, exit code 5, and the same command goes on once there is room."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SMALL = [
    "tuning.epochs=1",
    "codebook.codes=16",
    "codebook.levels=2",
    "backbone.layers=1",
    "backbone.width=32",
    "tasks.negatives=0",
]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def run(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "semconv_cli", "--project", str(project), *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def write_files(folder: Path) -> None:
    draw = random.Random(0)
    items = [f"i{item},thing number {item}" for item in range(40)]
    rows = [f"u{user},i{item},{place}" for user in range(80) for place, item in enumerate(draw.sample(range(40), 6))]
    (folder / "items.csv").write_text("item_id,title\n" + "\n".join(items))
    (folder / "rows.csv").write_text("user_id,item_id,source_position\n" + "\n".join(rows))


def test_full_disk_ends_with_5_and_the_same_command_goes_on(small_disk: Path, tmp_path: Path) -> None:
    project = small_disk / "p"
    write_files(tmp_path)
    subprocess.run([sys.executable, "-m", "semconv_cli", "init", str(project)], check=True, capture_output=True)
    assert run(project, "ingest", "items", str(tmp_path / "items.csv")).returncode == 0
    assert run(project, "ingest", "interactions", str(tmp_path / "rows.csv")).returncode == 0
    filler = small_disk / "filler"
    free = os.statvfs(small_disk)
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 60_000))
    options = [word for setting in SMALL for word in ("--set", setting)]

    full = run(project, *options, "backbone", "create")
    assert full.returncode == 5, full.stderr
    assert full.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "no space left" in full.stderr

    filler.unlink()
    assert run(project, *options, "backbone", "create").returncode == 0
