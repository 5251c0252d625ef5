"""One measured figure as a row, and the command line that every benchmark shares."""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

Size = Literal["small", "full"]
R = TypeVar("R")


@dataclass(frozen=True)
class Row:
    """Ours beside a peer's; ``ratio`` is better above 1, whichever way the metric counts."""

    benchmark: str
    case: str
    metric: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    peak_memory_bytes: int  # of the whole process so far, both sides
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What the rows of one benchmark have in common."""

    benchmark: str
    peer_name: str
    packages: Sequence[str]  # whose versions matter

    def row(
        self, case: str, metric: str, unit: str, *, ours: float, peer: float, higher_is_better: bool = False
    ) -> Row:
        """A row of this benchmark."""
        ratio = ours / peer if higher_is_better else peer / ours
        versions = {"python": platform.python_version(), **{name: version(name) for name in self.packages}}
        return Row(self.benchmark, case, metric, unit, ours, peer, self.peer_name, ratio, peak_memory_bytes(), versions)


def peak_memory_bytes() -> int:
    """Largest resident size of this process so far."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024


def seconds_of(call: Callable[[], R], repeats: int = 3) -> tuple[float, R]:
    """Shortest wall time of some calls, and what the last one gave."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - started)
    return min(times), result


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as aligned text."""
    names = ["benchmark", "case", "metric", "unit", "ours", "peer", "ratio", "peer_name"]
    lines = [names, *([_text(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def command(run: Callable[[Size], list[Row]]) -> None:
    """``[--json FILE] [--size small|full]`` of one benchmark."""
    parser = argparse.ArgumentParser(description=run.__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--size", choices=("small", "full"), default="small")
    arguments = parser.parse_args()
    rows = [asdict(row) for row in run(arguments.size)]
    print(table(rows))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
