"""Compressed files of some megabytes that hold a gigabyte: an ingest reads them in a fixed address space."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from semconv_warehouse.opened import OpenedProject

pytestmark = pytest.mark.slow

# Address space that the process may still take after its imports.
LIMITED = """
import resource, sys
from semconv_cli.main import main
from semconv_warehouse.project import Project
import semconv_warehouse.ingest
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (700 << 20),) * 2)
main()
"""


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("e.jsonl.gz", b'{"user_id": "", "item_id": "i", "event_time": 1, "pad": "%s"}\n', "no user_id: 1024"),
        ("latin.jsonl.gz", b'{"user_id": "", "item_id": "\xe9", "event_time": 1, "pad": "%s"}\n', "no user_id: 1024"),
        ("e.csv.gz", b",i,1,%s\n", "no user_id: 1024"),
        ("one line.jsonl.gz", b"%s", "row 1 is longer than 64 MiB"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
def test_a_small_compressed_file_of_a_gigabyte_is_read_in_bounded_memory(
    tmp_path: Path, name: str, row: bytes, message: str
) -> None:
    root, path = OpenedProject.init(tmp_path / "project", "").root, tmp_path / name
    with gzip.open(path, "wb", 1) as stream:
        if "csv" in name:
            stream.write(b"user_id,item_id,event_time,pad\n")
        for _ in range(1024):
            stream.write(row % (b"x" * (1 << 20)))
    assert path.stat().st_size < 8 << 20
    words = ["--project", str(root), "ingest", "interactions", str(path), "--rejected", str(tmp_path / "r")]
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", LIMITED, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 4, done.stderr[-2000:]
    assert message in done.stderr
