"""Processes that read what is served, over and over, while generation after generation is published."""

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

from benchmarks.rows import Row, Size, Subject
from benchmarks.serving_case import Case, make_project, write_parts
from semconv_warehouse.project import Project

SUBJECT = Subject("publish", "", ["duckdb"])
READERS = {"small": 3, "full": 8}
PUBLISHES = {"small": 5, "full": 20}
CASE = {"small": Case(200, items=2_000), "full": Case(2_000, items=5_000)}
READS = 20  # of each connection, before it opens what is served by then
_PATIENCE = 300  # seconds for a reader to start or to end, before something is wrong

_TOP_K = (
    "SELECT rank, item_id, title, reason_title, generation FROM current_recommendation WHERE user_id = ? ORDER BY rank"
)
# Which generations a connection sees in everything that changes together.
_GENERATIONS = " UNION ".join(
    f"SELECT generation FROM {table}"
    for table in ("generation_info", "recommendation", "item", "user_history", "run", "metric", "item_code")
)


@dataclass
class Reading:
    """What one reader saw."""

    seconds: list[float]  # of each question on an open connection
    opening: list[float]  # of opening what is served
    generations: set[int]
    num_errors: int = 0
    num_mixed: int = 0  # connections that saw more than one generation


def readers_beside_publishes(size: Size) -> list[Row]:
    """Errors, mixed generations and the times of single questions, with publishes one after the other."""
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
            queue.get(timeout=_PATIENCE)  # each is reading
        started = time.perf_counter()
        for parts in lists[1:]:
            publish(project, parts)
        seconds = time.perf_counter() - started
        end.set()
        readings: list[Reading] = [queue.get(timeout=_PATIENCE) for _ in readers]
        for reader in readers:
            reader.join()
    case = f"{READERS[size]} readers beside {PUBLISHES[size]} publishes of {CASE[size].rows:,} rows"
    return figures(case, readings, seconds)


def publish(project: Project, parts: Sequence[Path]) -> None:
    """Take lists in and put them in place."""
    project.recommend_load(parts)
    if not project.publish().is_new:
        raise SystemExit("the same lists again are no new generation")


def read(serving: str, users: Sequence[str], seed: int, end: Event, queue: Any) -> None:
    """Open what is served, ask some times, close, and again until the end."""
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
    """One connection."""
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


def figures(case: str, readings: Sequence[Reading], seconds: float) -> list[Row]:
    """Rows of all readers together."""
    asked = sorted(second for reading in readings for second in reading.seconds)
    opened = sorted(second for reading in readings for second in reading.opening)
    seen = set().union(*(reading.generations for reading in readings))
    values = [
        ("errors", "readings", float(sum(reading.num_errors for reading in readings))),
        ("connections that saw two generations", "connections", float(sum(reading.num_mixed for reading in readings))),
        ("generations seen", "generations", float(len(seen))),
        ("connections", "connections", float(len(opened))),
        ("questions", "questions", float(len(asked))),
        ("top 20 of a user, p50", "s", percentile(asked, 50)),
        ("top 20 of a user, p99", "s", percentile(asked, 99)),
        ("opening what is served, p50", "s", percentile(opened, 50)),
        ("opening what is served, p99", "s", percentile(opened, 99)),
        ("time of all publishes", "s", seconds),
    ]
    return [SUBJECT.row(case, metric, unit, ours=value) for metric, unit, value in values]


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of the values do not exceed; nearest rank."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
