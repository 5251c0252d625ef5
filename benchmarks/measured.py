"""What one side of a benchmark took and which rows it made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from benchmarks.timing import Seconds


@dataclass(frozen=True)
class Measured:
    """Time and memory of one side."""

    seconds: Seconds
    peak: int  # bytes
    fingerprint: tuple[int, ...]  # of the rows, independent of their order


def fingerprint(file: Path, rows: str, columns: Sequence[str]) -> tuple[int, ...]:
    """Return the number of rows, and a number that depends on the rows and not on their order.

    Args:
        rows: a table of the database, or a query in brackets.
    """
    sql = f"SELECT count(*), bit_xor(hash({', '.join(columns)})) FROM {rows}"
    with duckdb.connect(str(file), read_only=True) as connection:
        return tuple(connection.execute(sql).fetchall()[0])
