"""Compressed files of a few megabytes that hold 640 MB of text: an ingest reads them in bounded memory."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from semconv_warehouse.opened import OpenedProject
from tests.worlds.peak_memory import semconv

pytestmark = pytest.mark.slow

ROWS, ROW_BYTES = 640, 1 << 20
LARGEST = 600 << 20  # bytes of memory. An ingest of one row takes a third of it.


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("e.jsonl.gz", b'{"user_id": "", "item_id": "i", "event_time": 1, "pad": "%s"}\n', "no user_id: 640"),
        ("latin.jsonl.gz", b'{"user_id": "", "item_id": "\xe9", "event_time": 1, "pad": "%s"}\n', "no user_id: 640"),
        ("e.csv.gz", b",i,1,%s\n", "no user_id: 640"),
        ("one line.jsonl.gz", b"%s", "row 1 is longer than 64 MiB"),
    ],
)
def test_a_small_compressed_file_of_much_text_is_read_in_bounded_memory(
    tmp_path: Path, name: str, row: bytes, message: str
) -> None:
    root, path = OpenedProject.init(tmp_path / "project", "").root, tmp_path / name
    with gzip.open(path, "wb", 1) as stream:
        if "csv" in name:
            stream.write(b"user_id,item_id,event_time,pad\n")
        for _ in range(ROWS):
            stream.write(row % (b"x" * ROW_BYTES))
    assert path.stat().st_size < 8 << 20
    done, peak = semconv(root, "ingest", "interactions", str(path), "--rejected", str(tmp_path / "rejected.csv"))
    assert done.returncode == 4, done.stderr[-2000:]
    assert message in done.stderr
    assert peak < LARGEST, peak
