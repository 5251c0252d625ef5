"""Report an ingest: its counts as lines for the screen and as JSON, and a file of rejected rows."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from semconv.artifacts import atomic_path
from semconv.errors import InputError, SettingsError
from semconv.formulas import without_formula
from semconv.modes import OWNER_FILE
from semconv_warehouse.ingest.files.dialect import Input

REJECTED_COLUMNS = ("file", "row", "reason", "record")
_SHOWN_COLUMNS, _SHOWN_CHARACTERS = 50, 100  # of columns, in messages
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
    types: Mapping[str, int] = field(default_factory=dict)  # event type -> number of rows without repeated ones
    unlisted_types: tuple[str, ...] = ()  # event types that the settings give no weight
    removed: int = 0  # items marked as removed because they are absent from a snapshot
    restored: int = 0  # removed items that are in the files again
    unused_columns: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # columns of bytes, which attributes cannot hold
    remarks: tuple[str, ...] = ()  # how the text of the files was read, where a file shows it and the user did not say
    examples: Mapping[str, str] = field(default_factory=dict)  # reason or kind -> the first such value
    parts: tuple[IngestReport, ...] = ()  # the reports of an ingest of both kinds
    codes: str = ""  # a line about codes that came with the files

    def summary(self) -> list[str]:
        """Return lines for the user; counts of zero are left out."""
        if self.parts:
            lines = [line for part in self.parts for line in part.summary()]
            return [*lines, self.codes] if self.codes else lines
        counts = {"added": self.added, "updated": self.updated, "duplicate": self.duplicate}
        counts |= {"rejected": sum(self.rejected.values()), "removed": self.removed, "restored": self.restored}
        shown = ", ".join(f"{number:,} {name}" for name, number in counts.items() if number or name == "added")
        lines = [f"{self.kind}: {self.read:,} rows read, {shown}"]
        lines += [f"  {remark}" for remark in self.remarks]
        lines += [
            f"  rejected, {reason}: {number:,}{_such_as(self.examples, reason)}"
            for reason, number in sorted(self.rejected.items())
        ]
        lines += [f"  {kind}: {number:,}{_such_as(self.examples, kind)}" for kind, number in self.odd.items() if number]
        if self.types:
            lines.append("  event types: " + ", ".join(f"{name} {number:,}" for name, number in self.types.items()))
        if self.unlisted_types:
            names = ", ".join(self.unlisted_types)
            lines.append(f"  event types without a weight in events.weights, so they weigh 1: {names}")
        if self.unused_columns:
            lines.append(f"  columns not used: {shown_columns(self.unused_columns)}; read one with --map OURS=THEIRS")
        if self.left_out:
            lines.append(f"  bytes, left out of the attributes: {shown_columns(self.left_out)}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


def shown_columns(columns: Sequence[str]) -> str:
    """Return names of columns for a message. A file may have thousands of columns, and long names."""
    shown = ", ".join(map(shortened, columns[:_SHOWN_COLUMNS])) or "none"
    more = len(columns) - _SHOWN_COLUMNS
    return shown if more <= 0 else f"{shown} and {more:,} more"


def shortened(name: str) -> str:
    """Return the name of a column, cut and marked with an ellipsis if it is long."""
    return name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}…"


def combined(parts: Sequence[IngestReport]) -> IngestReport:
    """Return one report with the sums of several reports."""
    sums = {name: sum(getattr(part, name) for part in parts) for name in _SUMMED}
    return IngestReport(
        kind="+".join(part.kind for part in parts),
        files=tuple(file for part in parts for file in part.files),
        **sums,
        rejected=_total(part.rejected for part in parts),
        odd=_total(part.odd for part in parts),
        types=_total(part.types for part in parts),
        left_out=tuple(name for part in parts for name in part.left_out),
        remarks=tuple(remark for part in parts for remark in part.remarks),
        examples={kind: value for part in parts for kind, value in part.examples.items()},
        parts=tuple(parts),
    )


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(total)


class NothingUsableError(InputError):
    """No row of the files can be used."""


def joined(parts: Iterable[pl.DataFrame], rejected: Rejected, files: Sequence[object]) -> pl.DataFrame:
    """Return the usable rows of all files, numbered in ``arrival``; NothingUsableError if there are none."""
    rows = pl.concat(parts).with_row_index("arrival")
    if rows.is_empty():
        raise nothing_usable(rejected, files)
    return rows


def nothing_usable(
    rejected: Rejected, files: Sequence[object], advice: Mapping[str, str] | None = None
) -> NothingUsableError:
    """Return the error of files without a row that can be used, with the reasons.

    Args:
        advice: reason of a rejection -> what to do about it.
    """
    reasons = ", ".join(
        f"{reason}: {number}{_such_as(rejected.examples, reason)}" for reason, number in rejected.counts.most_common()
    )
    advised = [text for reason, text in (advice or {}).items() if reason in rejected.counts]
    return NothingUsableError(
        f"{', '.join(map(str, files))}: none of {rejected.counts.total()} rows can be used ({reasons});"
        f" {'; '.join(advised) or 'correct the files'}"
    )


class Rejected:
    """The rejected rows of an ingest: counted by reason, and written to a file while the input is read.

    They are never all in memory, because a small compressed file can hold gigabytes of unusable rows.
    """

    def __init__(self, stream: BinaryIO | None = None, *, is_csv: bool = False, no_formulas: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, str] = {}  # reason or kind of an odd value -> the first such value
        self._stream, self._is_csv, self._no_formulas, self._is_empty = stream, is_csv, no_formulas, True

    @property
    def is_written(self) -> bool:
        """Whether the rows are written to a file, so that callers need to make their records."""
        return self._stream is not None

    def count(self, reasons: pl.Series) -> None:
        """Count rows by reason."""
        self.counts.update(dict(reasons.value_counts().iter_rows()))

    def note(self, kinds: pl.Series, values: pl.Series) -> None:
        """Keep the first value of each reason or kind of odd value."""
        known = values.is_not_null()
        for kind, value in zip(kinds.filter(known), values.filter(known), strict=True):
            self.examples.setdefault(kind, value)

    def write(self, rows: pl.DataFrame) -> None:
        """Write rows with REJECTED_COLUMNS; nothing happens if there is no file."""
        if self._stream is None or rows.is_empty():
            return
        if self._no_formulas:
            texts = ("file", "reason", "record")
            rows = rows.with_columns(
                pl.Series(name, list(map(without_formula, rows[name])), pl.String) for name in texts
            )
        if self._is_csv:
            rows.write_csv(self._stream, include_header=self._is_empty)
        else:
            rows.write_ndjson(self._stream)
        self._is_empty = False

    def end(self) -> None:
        """Write the header of a CSV file without rows."""
        if self._stream is not None and self._is_csv and self._is_empty:
            self._stream.write((",".join(REJECTED_COLUMNS) + "\n").encode())


@contextlib.contextmanager
def rejected_file(
    path: Path | None, files: Sequence[Input], data: Path, *, no_formulas: bool = False
) -> Iterator[Rejected]:
    """Give the collector of rejected rows, which writes CSV if ``path`` ends with .csv, else JSON lines.

    The columns are REJECTED_COLUMNS: ``row`` counts from 1, ``record`` is the row as JSON without bytes. The file appears
    at the end of the block, also if no row can be used, but not after another error.

    Args:
        files: the inputs, none of which is replaced.
        data: the project's own files, none of which is replaced.

    Raises:
        SettingsError: the file would replace an input or a file of the project.
    """
    if path is None:
        yield Rejected()
        return
    _require_free(path, files, data)
    failure: NothingUsableError | None = None
    with atomic_path(path, OWNER_FILE) as temporary, temporary.open("wb") as stream:
        rejected = Rejected(stream, is_csv=path.suffix == ".csv", no_formulas=no_formulas)
        try:
            yield rejected
        except NothingUsableError as error:
            failure = error
        rejected.end()
    if failure is not None:
        raise NothingUsableError(f"{failure}; the rejected rows are in {path}")


def _require_free(path: Path, files: Sequence[Input], data: Path) -> None:
    if path.resolve().is_relative_to(data.resolve()):
        raise SettingsError(
            f"--rejected {path}: the file lies among the project's own files; name one outside of {data}"
        )
    for file in files:
        name = Path(str(file))
        if path.exists() and name.exists() and path.samefile(name):
            raise SettingsError(f"--rejected {path}: this is an input, which would be replaced; name another file")


def _such_as(examples: Mapping[str, str], kind: str) -> str:
    """Return the end of a message with the first value of a kind, or of a reason."""
    return f", such as {shortened(examples[kind])!r}" if kind in examples else ""
