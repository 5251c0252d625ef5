"""One measured figure as a row, and the command line that the benchmarks share."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from benchmarks.timing import Seconds, peak_memory_bytes

Size = Literal["small", "full"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Row:
    """A figure of ours beside the peer's. The ratio is above 1 where ours is better.

    Without a peer, ``peer_name`` is empty, and ``peer`` and ``ratio`` are None.
    """

    benchmark: str
    case: str
    metric: str
    unit: str
    ours: float
    peer: float | None
    peer_name: str
    ratio: float | None
    peak_memory_bytes: int  # of the whole process so far, with both sides
    versions: dict[str, str] = field(default_factory=dict)
    interval: Interval | None = None  # 95 % interval of ours, for figures over users


@dataclass(frozen=True)
class Comparison:
    """Makes the rows of one benchmark with one peer."""

    benchmark: str
    peer_name: str  # empty without a peer
    packages: Sequence[str]  # packages whose versions matter

    def row(
        self,
        case: str,
        metric: str,
        unit: str,
        *,
        ours: float,
        peer: float | None = None,
        higher_is_better: bool = False,
        interval: Interval | None = None,
    ) -> Row:
        """Make one row."""
        ratio = None
        if peer is not None:
            ratio = ours / peer if higher_is_better else peer / ours
        versions = {"python": platform.python_version(), **{name: version(name) for name in self.packages}}
        memory = peak_memory_bytes()
        return Row(self.benchmark, case, metric, unit, ours, peer, self.peer_name, ratio, memory, versions, interval)

    def seconds(self, case: str, metric: str, ours: Seconds, peer: Seconds | None = None) -> list[Row]:
        """Make two rows: wall seconds and processor seconds."""
        return [
            self.row(case, name, "s", ours=own, peer=other) for name, own, other in _both_clocks(metric, ours, peer)
        ]

    def rates(
        self, case: str, metric: str, unit: str, amount: float, ours: Seconds, peer: Seconds | None = None
    ) -> list[Row]:
        """Make two rows: ``amount`` by wall second and by processor second. Both sides did the same amount."""
        return [
            self.row(
                case,
                name,
                unit,
                ours=amount / own,
                peer=None if other is None else amount / other,
                higher_is_better=True,
            )
            for name, own, other in _both_clocks(metric, ours, peer)
        ]


def _both_clocks(metric: str, ours: Seconds, peer: Seconds | None) -> list[tuple[str, float, float | None]]:
    """Return name, ours and the peer's, by wall time and by processor time."""
    return [
        (metric, ours.wall, peer and peer.wall),
        (f"{metric}, of the processor", ours.processor, peer and peer.processor),
    ]


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Format rows as aligned text."""
    names = ["benchmark", "case", "metric", "unit", "ours", "peer", "ratio", "peer_name"]
    lines = [names, *([_text(row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Format a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *lines)) + "\n"


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Make the parser of a benchmark: ``[--json FILE] [--size small|full]``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_json_option(parser)
    parser.add_argument("--size", choices=("small", "full"), default="small", help="amount of data; default: small")
    return parser


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json FILE``."""
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows to this file; a table in Markdown goes beside it"
    )


def finish(rows: Iterable[Row], file: Path | None, markdown: str = "") -> None:
    """Print rows and the Markdown table. With a ``file``, keep the rows as JSON and the table beside it."""
    values = [asdict(row) for row in rows]
    print(table(values))
    if markdown:
        print(markdown)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values, indent=1) + "\n")
        if markdown:
            file.with_suffix(".md").write_text(markdown)


def command(run: Callable[[Size], list[Row]], description: str | None = None) -> None:
    """Run the command line of a benchmark that takes nothing but a size."""
    arguments = argument_parser(description or run.__doc__).parse_args()
    finish(run(arguments.size), arguments.json)
