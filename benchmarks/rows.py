"""One measured figure as a row, and the command line that every benchmark shares."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

Size = Literal["small", "full"]
R = TypeVar("R")


@dataclass(frozen=True)
class Row:
    """Ours beside a peer's; ``ratio`` is better above 1, whichever way the metric counts.

    A figure that has nothing beside it leaves ``peer_name`` empty, and ``peer`` and ``ratio`` null.
    """

    benchmark: str
    case: str
    metric: str
    unit: str
    ours: float
    peer: float | None
    peer_name: str
    ratio: float | None
    peak_memory_bytes: int  # of the whole process so far, both sides
    versions: dict[str, str] = field(default_factory=dict)
    interval: tuple[float, float] | None = None  # 95 % of ours, where it was drawn from users


@dataclass(frozen=True)
class Subject:
    """What the rows of one benchmark have in common."""

    benchmark: str
    peer_name: str
    packages: Sequence[str]  # whose versions matter

    def row(
        self,
        case: str,
        metric: str,
        unit: str,
        *,
        ours: float,
        peer: float | None = None,
        higher_is_better: bool = False,
        interval: tuple[float, float] | None = None,
    ) -> Row:
        """A row of this benchmark."""
        ratio = None
        if peer is not None:
            ratio = ours / peer if higher_is_better else peer / ours
        versions = {"python": platform.python_version(), **{name: version(name) for name in self.packages}}
        memory = peak_memory_bytes()
        return Row(self.benchmark, case, metric, unit, ours, peer, self.peer_name, ratio, memory, versions, interval)


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far, and of no other."""
    status = Path("/proc/self/status")
    if status.is_file():  # the number below starts from what the process held that started this one
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


@dataclass(frozen=True)
class Seconds:
    """Shortest of some calls: by the clock, and of the processors, which a busy machine disturbs less."""

    wall: float
    processor: float


def times_of(call: Callable[[], R], repeats: int = 3) -> tuple[Seconds, R]:
    """Seconds of some calls, and what the last one gave."""
    wall, processor = [], []
    for _ in range(repeats):
        started, worked = time.perf_counter(), time.process_time()
        result = call()
        wall.append(time.perf_counter() - started)
        processor.append(time.process_time() - worked)
    return Seconds(min(wall), min(processor)), result


def in_turn(calls: Mapping[str, Callable[[], Any]], repeats: int = 3) -> dict[str, Seconds]:
    """Shortest of some calls of each, one after the other in every round, so that a busy minute meets all of them."""
    for call in calls.values():
        call()
    rounds = [{name: times_of(call, repeats=1)[0] for name, call in calls.items()} for _ in range(repeats)]
    return {
        name: Seconds(min(one[name].wall for one in rounds), min(one[name].processor for one in rounds))
        for name in calls
    }


def seconds_of(call: Callable[[], R], repeats: int = 3) -> tuple[float, R]:
    """Shortest wall time of some calls, and what the last one gave."""
    seconds, result = times_of(call, repeats)
    return seconds.wall, result


def apart(work: Callable[..., R], *arguments: Any) -> R:
    """The result of a function in a process of its own, whose memory and environment are as if it were alone."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as processes:
        return processes.submit(work, *arguments).result()


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as aligned text."""
    names = ["benchmark", "case", "metric", "unit", "ours", "peer", "ratio", "peer_name"]
    lines = [names, *([_text(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def arguments_of(description: str | None) -> argparse.Namespace:
    """``[--json FILE] [--size small|full]``, of every benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--size", choices=("small", "full"), default="small")
    return parser.parse_args()


def finish(rows: Iterable[Row], file: Path | None) -> None:
    """Print rows as a table, and keep them as JSON where a file is named."""
    values = [asdict(row) for row in rows]
    print(table(values))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values, indent=1) + "\n")


def command(run: Callable[[Size], list[Row]]) -> None:
    """The command line of one benchmark."""
    arguments = arguments_of(run.__doc__)
    finish(run(arguments.size), arguments.json)


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
