"""Ingest of an event log with several types of events, from a CSV file.

The peer is a bare ``CREATE TABLE AS`` of the same file, whose columns and types it is told. It checks no value, finds no
duplicate and numbers no user and item. First it is checked that both sides hold the same events. Each side runs in its own
process, so that its peak memory is its own. The same file is then read again, which adds nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb

from benchmarks.measured import Measured, fingerprint
from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.timing import in_own_process, peak_memory_bytes, timed
from semconv_warehouse.project import Project

PACKAGES = ["duckdb", "polars", "pyarrow"]
BARE = Comparison("events", "CREATE TABLE AS from read_csv", PACKAGES)
ALONE = Comparison("events", "", PACKAGES)
EVENTS = {"small": 100_000, "full": 10_000_000}

_SETTINGS = '[events]\nweights = { view = 0.1, cart = 0.3, purchase = 1.0 }\ntargets = ["purchase"]\n'
# A tenth as many users as events, and popular items: the cube of a uniform number.
_WRITE = """
COPY (
    SELECT 'user-' || lpad((hash(event) % {users})::VARCHAR, 7, '0') AS user_id,
        'item-' || lpad(floor({items} * pow(random(), 3))::INTEGER::VARCHAR, 6, '0') AS item_id,
        strftime(TIMESTAMP '2025-01-01' + to_seconds((random() * 31536000)::INTEGER), '%Y-%m-%d %H:%M:%S') AS event_time,
        CASE WHEN random() < 0.8 THEN 'view' WHEN random() < 0.6 THEN 'cart' ELSE 'purchase' END AS event_type
    FROM range({events}) log(event)
) TO '{file}' (HEADER)
"""
_TYPES = {"user_id": "VARCHAR", "item_id": "VARCHAR", "event_time": "TIMESTAMP", "event_type": "VARCHAR"}
_EVENTS = "(SELECT DISTINCT {} FROM {{}})".format(", ".join(_TYPES))  # of a table


def run(size: Size) -> list[Row]:
    """Measure rates and memory."""
    events = EVENTS[size]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder / "events.csv", events)
        Project.init(folder / "project", _SETTINGS)
        bare = in_own_process(create_table, folder)
        first, again = in_own_process(ingest, folder), in_own_process(ingest, folder)
    if not first.fingerprint == again.fingerprint == bare.fingerprint:
        raise SystemExit(f"not the same events: {first.fingerprint}, {again.fingerprint}, peer {bare.fingerprint}")
    case = f"{events:,} events"
    return [
        *BARE.rates(case, "ingest", "rows/s", events, first.seconds, bare.seconds),
        *ALONE.rates(case, "the same file again", "rows/s", events, again.seconds),
        BARE.row(case, "peak memory of ingest", "bytes", ours=float(first.peak), peer=float(bare.peak)),
        ALONE.row(case, "peak memory, the same file again", "bytes", ours=float(again.peak)),
    ]


def write_log(file: Path, events: int) -> None:
    """Write a log of views, carts and purchases."""
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SELECT setseed(0.5)")
        connection.execute(_WRITE.format(events=events, users=events // 10, items=max(100, events // 50), file=file))


def ingest(folder: Path) -> Measured:
    """Measure ``semconv ingest interactions``."""
    project = Project.open(folder / "project")
    seconds, _ = timed(lambda: project.ingest_interactions([folder / "events.csv"], {}), repeats=1)
    peak = peak_memory_bytes()
    return Measured(seconds, peak, fingerprint(project.layout.warehouse, _EVENTS.format("interaction"), list(_TYPES)))


def create_table(folder: Path) -> Measured:
    """Measure a bare ``CREATE TABLE AS``, written to the disk."""
    target = folder / "bare.duckdb"

    def create() -> None:
        with duckdb.connect(str(target)) as connection:
            connection.execute(
                "CREATE TABLE events AS FROM read_csv($file, columns = $types)",
                {"file": str(folder / "events.csv"), "types": _TYPES},
            )
            connection.execute("CHECKPOINT")

    seconds, _ = timed(create, repeats=1)
    return Measured(seconds, peak_memory_bytes(), fingerprint(target, _EVENTS.format("events"), list(_TYPES)))


if __name__ == "__main__":
    command(run, __doc__)
