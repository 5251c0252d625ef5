"""Measure calls: their seconds, their peak memory, and calls in a process of their own."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")


@dataclass(frozen=True)
class Seconds:
    """Seconds of a call: wall time, and processor time of this process, which a busy machine disturbs less."""

    wall: float
    processor: float


def timed(call: Callable[[], R], repeats: int = 3) -> tuple[Seconds, R]:
    """Return the shortest times of several calls, and the result of the last call."""
    wall, processor = [], []
    for _ in range(repeats):
        started, worked = time.perf_counter(), time.process_time()
        result = call()
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - worked)
    return Seconds(min(wall), min(processor)), result


def timed_in_turn(calls: Mapping[str, Callable[[], Any]], repeats: int = 3) -> dict[str, Seconds]:
    """Return the shortest times of several calls by name. Calls take turns, so that a busy moment affects all of them.

    A first call of each is not measured.
    """
    for call in calls.values():
        call()
    rounds = [{name: timed(call, repeats=1)[0] for name, call in calls.items()} for _ in range(repeats)]
    return {
        name: Seconds(min(one[name].wall for one in rounds), min(one[name].processor for one in rounds))
        for name in calls
    }


def in_own_process(work: Callable[..., R], *arguments: Any) -> R:
    """Return the result of a function that runs in a new process, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        return processes.submit(work, *arguments).result()


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # the number of `getrusage` starts from the size of the parent process
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


def set_torch_threads() -> int:
    """Let torch use as many threads as numpy's BLAS, and return the number."""
    import torch

    count = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    torch.set_num_threads(count)
    return count


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest of the ascending values that ``percent`` % of them do not exceed (nearest rank)."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
