"""Processes that read the served file again and again while generations are published."""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.rows import Comparison, Row, Size
from benchmarks.serving.case import Case, make_project, write_parts
from benchmarks.timing import percentile
from semconv_warehouse.project import Project

ALONE = Comparison("publish", "", ["duckdb"])
READERS = {"small": 2, "full": 8}
PUBLISHES = {"small": 3, "full": 20}
CASE = {"small": Case(200, items=2_000), "full": Case(2_000, items=5_000)}
READS = 20  # reads of a connection before it opens the served file again
_PATIENCE = 300  # seconds for a reader to start or to end

_TOP_K = (
    "SELECT rank, item_id, title, reason_title, generation FROM current_recommendation WHERE user_id = ? ORDER BY rank"
)
# All generations that a connection sees; a publish replaces all these tables together.
_GENERATIONS = " UNION ".join(
    f"SELECT generation FROM {table}"
    for table in ("generation_info", "recommendation", "item", "user_history", "run", "metric", "item_code")
)


@dataclass
class Reading:
    """Everything that one reader saw."""

    seconds: list[float]  # of each read on an open connection
    opening: list[float]  # seconds of opening the served file
    generations: set[int]
    num_errors: int = 0
    num_mixed: int = 0  # connections that saw more than one generation


def readers_beside_publishes(size: Size) -> list[Row]:
    """Count errors and mixed generations, and measure single reads, while generations are published."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        project = make_project(Path(name) / "project", CASE[size])
        lists = [write_parts(Path(name) / "parts", CASE[size], step) for step in range(PUBLISHES[size] + 1)]
        publish(project, lists[0])
        users = [row["user_id"] for row in project.sql("SELECT DISTINCT user_id FROM recommendation").to_pylist()]
        queue, end = context.Queue(), context.Event()
        readers = [
            context.Process(target=read, args=(str(project.layout.serving), users, seed, end, queue), daemon=True)
            for seed in range(READERS[size])
        ]
        for reader in readers:
            reader.start()
        for _ in readers:
            queue.get(timeout=_PATIENCE)  # until each reader reads
        started = time.perf_counter()
        for parts in lists[1:]:
            publish(project, parts)
        seconds = time.perf_counter() - started
        end.set()
        readings: list[Reading] = [queue.get(timeout=_PATIENCE) for _ in readers]
        for reader in readers:
            reader.join()
    case = f"{READERS[size]} readers beside {PUBLISHES[size]} publishes of {CASE[size].rows:,} rows"
    return rows_of(case, readings, seconds)


def publish(project: Project, parts: Sequence[Path]) -> None:
    """Load lists and publish them."""
    project.recommend_load(parts)
    if not project.publish().is_new:
        raise SystemExit("the publish made no new generation")


def read(serving: str, users: Sequence[str], seed: int, end: Event, queue: Any) -> None:
    """Open the served file, read some times and close it, again and again until the end."""
    draw, reading = random.Random(seed), Reading([], [], set())
    is_first = True
    while not end.is_set():
        try:
            read_once(serving, draw, users, reading)
        except duckdb.Error:
            reading.num_errors += 1
        if is_first:
            queue.put("reading")
            is_first = False
    queue.put(reading)


def read_once(serving: str, draw: random.Random, users: Sequence[str], reading: Reading) -> None:
    """Read some times on one connection."""
    started = time.perf_counter()
    with duckdb.connect(serving, read_only=True, config={"threads": 1}) as connection:
        connection.execute("SELECT 1").fetchall()
        reading.opening.append(time.perf_counter() - started)
        seen = set()
        for _ in range(READS):
            started = time.perf_counter()
            rows = connection.execute(_TOP_K, [draw.choice(users)]).fetchall()
            reading.seconds.append(time.perf_counter() - started)
            seen |= {row[-1] for row in rows}
        seen |= {generation for (generation,) in connection.execute(_GENERATIONS).fetchall()}
        reading.num_mixed += len(seen) != 1
        reading.generations |= seen


def rows_of(case: str, readings: Sequence[Reading], seconds: float) -> list[Row]:
    """Make the rows of all readers together."""
    read_seconds = sorted(second for reading in readings for second in reading.seconds)
    opened = sorted(second for reading in readings for second in reading.opening)
    seen = set().union(*(reading.generations for reading in readings))
    values = [
        ("errors", "readings", float(sum(reading.num_errors for reading in readings))),
        ("connections that saw two generations", "connections", float(sum(reading.num_mixed for reading in readings))),
        ("generations seen", "generations", float(len(seen))),
        ("connections", "connections", float(len(opened))),
        ("questions", "questions", float(len(read_seconds))),
        ("top 20 of a user, p50", "s", percentile(read_seconds, 50)),
        ("top 20 of a user, p99", "s", percentile(read_seconds, 99)),
        ("opening what is served, p50", "s", percentile(opened, 50)),
        ("opening what is served, p99", "s", percentile(opened, 99)),
        ("time of all publishes", "s", seconds),
    ]
    return [ALONE.row(case, metric, unit, ours=value) for metric, unit, value in values]
