"""Report an ingest: its counts as lines for the screen and as JSON, and a file of rejected rows."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from semconv.artifacts import atomic_path
from semconv.errors import InputError
from semconv.modes import OWNER_FILE

REJECTED_COLUMNS = ("file", "row", "reason", "record")
_SUMMED = ("read", "added", "updated", "duplicate", "removed", "restored")


@dataclass(frozen=True)
class IngestReport:
    """The counts of one ingest. ``read`` is the sum of ``added``, ``updated``, ``duplicate`` and ``rejected``."""

    kind: str  # 'interactions', 'items' or 'interactions+items'
    files: tuple[str, ...]
    read: int
    added: int
    updated: int = 0
    duplicate: int = 0  # rows that the warehouse has already, or that are repeated in the files
    rejected: Mapping[str, int] = field(default_factory=dict)  # reason -> number of rows
    odd: Mapping[str, int] = field(default_factory=dict)  # kind of an unusual value that was stored -> number of values
    removed: int = 0  # items marked as removed because they are absent from a snapshot
    restored: int = 0  # removed items that are in the files again
    unused_columns: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # columns of bytes, which attributes cannot hold
    parts: tuple[IngestReport, ...] = ()  # the reports of an ingest of both kinds

    def summary(self) -> list[str]:
        """Return lines for the user; counts of zero are left out."""
        if self.parts:
            return [line for part in self.parts for line in part.summary()]
        counts = {"added": self.added, "updated": self.updated, "duplicate": self.duplicate}
        counts |= {"rejected": sum(self.rejected.values()), "removed": self.removed, "restored": self.restored}
        shown = ", ".join(f"{number:,} {name}" for name, number in counts.items() if number or name == "added")
        lines = [f"{self.kind}: {self.read:,} rows read, {shown}"]
        lines += [f"  rejected, {reason}: {number:,}" for reason, number in sorted(self.rejected.items())]
        lines += [f"  {kind}: {number:,}" for kind, number in self.odd.items() if number]
        if self.unused_columns:
            lines.append(f"  columns not used: {', '.join(self.unused_columns)}; read one with --map OURS=THEIRS")
        if self.left_out:
            lines.append(f"  bytes, left out of the attributes: {', '.join(self.left_out)}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


def combined(parts: Sequence[IngestReport]) -> IngestReport:
    """Return one report with the sums of several reports."""
    sums = {name: sum(getattr(part, name) for part in parts) for name in _SUMMED}
    return IngestReport(
        kind="+".join(part.kind for part in parts),
        files=tuple(file for part in parts for file in part.files),
        **sums,
        rejected=_total(part.rejected for part in parts),
        odd=_total(part.odd for part in parts),
        left_out=tuple(name for part in parts for name in part.left_out),
        parts=tuple(parts),
    )


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)


def joined(
    parts: Sequence[tuple[pl.DataFrame, pl.DataFrame]], files: Sequence[object]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the usable rows of all files, numbered in ``arrival``, and the rejected rows; refuse files without usable rows."""
    rows = pl.concat(usable for usable, _ in parts).with_row_index("arrival")
    rejected = pl.concat(rejected for _, rejected in parts)
    if rows.is_empty():
        reasons = ", ".join(f"{reason}: {number}" for reason, number in counts_by_reason(rejected).items())
        raise InputError(
            f"{', '.join(map(str, files))}: none of {rejected.height} rows can be used ({reasons}); correct the files"
        )
    return rows, rejected


def counts_by_reason(rejected: pl.DataFrame) -> dict[str, int]:
    """Return the number of rejected rows by reason."""
    return dict(rejected["reason"].value_counts(sort=True).iter_rows())


def write_rejected(rejected: pl.DataFrame, path: Path) -> None:
    """Write rejected rows as CSV if ``path`` ends with .csv, else as JSON lines.

    The columns are REJECTED_COLUMNS: ``row`` counts from 1, ``record`` is the row as JSON without bytes.
    """
    with atomic_path(path, OWNER_FILE) as temporary:
        if path.suffix == ".csv":
            rejected.write_csv(temporary)
        else:
            rejected.write_ndjson(temporary)
