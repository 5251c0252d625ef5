"""Erasing users from files of runs and features: Parquet, arrays by ``user_index``, and files that are deleted whole.

A changed file is written beside the old one and takes its name by a rename. So no byte of an erased row stays in it,
and after a kill either the old file or the new one is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv.artifacts import atomic_path, read_arrays, write_arrays
from semconv.columns import USER_ID
from semconv.errors import InputError
from semconv.runs.digests import updating_digest
from semconv.runs.user_data import ParquetRows, UserArrays, UserData


def erase_from_file(
    path: Path, user_data: UserData, users: Sequence[str], indices: NDArray[np.int64], *, dry_run: bool
) -> int:
    """Erase users from one file; return the number of rows or values erased, 1 for a file that is deleted.

    Args:
        user_data: how users are taken out of this file, from ``semconv.runs.files``.
        users: values of ``user_id``.
        indices: the values of ``user_index`` that belong to them.
    """
    if isinstance(user_data, ParquetRows):
        return erase_from_parquet(path, users, dry_run=dry_run)
    if isinstance(user_data, UserArrays):
        return erase_from_arrays(path, user_data, indices, dry_run=dry_run)
    if not dry_run:
        path.unlink()
    return 1


def erase_from_parquet(path: Path, users: Sequence[str], *, dry_run: bool) -> int:
    """Erase the rows of users from a Parquet file and return their number.

    A file without such rows or without the column ``user_id`` is left as it is.

    Raises:
        InputError: the file has the column, but it cannot be read to its end.
    """
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError):
        return 0  # cut off by a kill; the command that needs the file writes it again
    if USER_ID not in schema.names:
        return 0
    names = pa.array(users, pa.string())
    try:
        ids = pq.read_table(path, columns=[USER_ID]).column(USER_ID).cast(pa.string())
        num_rows = int(pc.sum(pc.is_in(ids, value_set=names)).as_py() or 0)
        if num_rows and not dry_run:
            _write_without(path, names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: cannot be read ({reason}); remove it and run the same command again") from error
    return num_rows


def _write_without(path: Path, names: pa.Array) -> None:
    table = pq.read_table(path, partitioning=None)
    kept = table.filter(pc.invert(pc.is_in(table.column(USER_ID).cast(pa.string()), value_set=names)))
    with updating_digest(path), atomic_path(path) as temporary:
        pq.write_table(kept, temporary, compression="zstd")  # keeps the part's label, which is metadata of the schema


def erase_from_arrays(path: Path, user_data: UserArrays, indices: NDArray[np.int64], *, dry_run: bool) -> int:
    """Erase users from a file of arrays by their ``user_index``; return the number of rows or values erased."""
    changed, count = user_data.without(read_arrays(path), indices)
    if count and not dry_run:
        with updating_digest(path):
            write_arrays(path, changed)
    return count
