"""Rows on their way from a source into the warehouse, in Parquet files, so that they are never all in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow.parquet as pq

from semconv.artifacts import machine_errors
from semconv.locks import run_lock
from semconv_warehouse.store.leftovers import SPOOLED

ROW_GROUP: Final = 122_880  # rows that DuckDB reads at once
_CREATION_SECONDS = 5.0  # to wait for the lock of the folder, which nobody holds for long


@contextmanager
def spool_folder(folder: Path) -> Iterator[Path]:
    """Create a folder in ``folder`` for rows of users, and remove it when the block ends.

    Nobody but its owner can read it. It is locked, so that no command takes it for the leftover of a killed process.

    Raises:
        MachineError: the disk is full, or a permission is missing.
    """
    with machine_errors(folder), ExitStack() as stack:
        # A command that removes the files of killed processes holds this lock, so it never sees the new folder unlocked.
        with run_lock(folder, wait=_CREATION_SECONDS, work="an ingest is being started"):
            own = Path(tempfile.mkdtemp(prefix=SPOOLED, dir=folder))  # with mode 0700
            stack.callback(shutil.rmtree, own, ignore_errors=True)
            stack.enter_context(run_lock(own))
        yield own


def write_rows(batches: Iterable[pl.DataFrame], file: Path) -> int:
    """Write batches with equal columns to a new Parquet file, and return the number of rows.

    Without batches there is no file.
    """
    number, writer = 0, None
    try:
        for group in _grouped(batches):
            table = group.to_arrow(compat_level=pl.CompatLevel.oldest())
            writer = writer or pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
            number += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return number


def _grouped(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Join small batches, because each becomes a row group with dictionaries of its own."""
    held: list[pl.DataFrame] = []
    for batch in batches:
        held.append(batch)
        if sum(one.height for one in held) >= ROW_GROUP:
            yield pl.concat(held)
            held.clear()
    if held:
        yield pl.concat(held)
