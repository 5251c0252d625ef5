"""What an ingest did: counts by kind and reason, for the screen, for JSON and for a file of rejected rows."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from semconv.artifacts import atomic_path

REJECTED_COLUMNS = ("file", "row", "reason", "record")


@dataclass(frozen=True)
class IngestReport:
    """Counts of one ingest; ``read`` = added + updated + duplicate + unchanged + all that is rejected."""

    kind: str  # 'interactions', 'items', or both with a +
    files: tuple[str, ...]
    read: int
    added: int
    updated: int = 0
    duplicate: int = 0  # the same row again, in the files or in the warehouse
    rejected: Mapping[str, int] = field(default_factory=dict)  # reason -> rows
    odd: Mapping[str, int] = field(default_factory=dict)  # stored all the same: kind -> number
    removed: int = 0  # items absent from a snapshot
    restored: int = 0  # removed items that are back
    unused_columns: tuple[str, ...] = ()
    parts: tuple[IngestReport, ...] = ()  # of an ingest that read more than one kind

    def summary(self) -> list[str]:
        """Lines for the user, without an empty count."""
        if self.parts:
            return [line for part in self.parts for line in part.summary()]
        counts = {"added": self.added, "updated": self.updated, "duplicate": self.duplicate}
        counts |= {"rejected": sum(self.rejected.values()), "removed": self.removed, "restored": self.restored}
        shown = ", ".join(f"{number:,} {name}" for name, number in counts.items() if number or name == "added")
        lines = [f"{self.kind}: {self.read:,} rows read, {shown}"]
        lines += [f"  rejected, {reason}: {number:,}" for reason, number in sorted(self.rejected.items())]
        lines += [f"  {kind}: {number:,}" for kind, number in self.odd.items() if number]
        if self.unused_columns:
            lines.append(f"  columns not used: {', '.join(self.unused_columns)} (--map OURS=THEIRS uses one)")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


def combined(reports: Iterable[IngestReport]) -> IngestReport:
    """One report over several parts, counts added up."""
    parts = tuple(reports)
    rejected: Counter[str] = Counter()
    odd: Counter[str] = Counter()
    for part in parts:
        rejected.update(part.rejected)
        odd.update(part.odd)
    return IngestReport(
        kind="+".join(part.kind for part in parts),
        files=tuple(file for part in parts for file in part.files),
        read=sum(part.read for part in parts),
        added=sum(part.added for part in parts),
        updated=sum(part.updated for part in parts),
        duplicate=sum(part.duplicate for part in parts),
        rejected=dict(rejected),
        odd=dict(odd),
        removed=sum(part.removed for part in parts),
        restored=sum(part.restored for part in parts),
        parts=parts,
    )


def counts_by_reason(rejected: pl.DataFrame) -> dict[str, int]:
    """Reason -> rows."""
    return dict(rejected["reason"].value_counts(sort=True).iter_rows())


def write_rejected(rejected: pl.DataFrame, path: Path) -> None:
    """Write rejected rows (:data:`REJECTED_COLUMNS`; row counts from 1, record is JSON): csv by suffix, else JSON lines."""
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            rejected.write_csv(temporary)
        else:
            rejected.write_ndjson(temporary)
