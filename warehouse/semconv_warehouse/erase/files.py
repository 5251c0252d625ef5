"""Erasing users from files of runs and from feature files.

The changed content is written to a new file, which then replaces the old file by a rename. So the file contains no
bytes of erased rows, and after a kill either the old file or the new one is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv.artifacts import read_arrays, write_arrays
from semconv.columns import USER_ID
from semconv.errors import InputError
from semconv.runs.digests import replacing_file
from semconv.runs.user_data import ParquetRows, UserArrays, UserData


def erase_from_file(
    path: Path, user_data: UserData, users: Sequence[str], indices: NDArray[np.int64], *, dry_run: bool
) -> int:
    """Erase users from one file; return the number of erased rows or values, or 1 if the file is deleted.

    Args:
        user_data: how a user is erased from this file (``semconv.runs.files``).
        users: ``user_id`` of the users.
        indices: ``user_index`` of the same users.
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

    A file without such rows or without the column ``user_id`` is not changed.

    Raises:
        InputError: the file is damaged.
    """
    names = pa.array(users, pa.string())
    try:
        if USER_ID not in pq.read_schema(path).names:
            return 0
        ids = pq.read_table(path, columns=[USER_ID]).column(USER_ID).cast(pa.string())
        num_rows = int(pc.sum(pc.is_in(ids, value_set=names)).as_py() or 0)
        if num_rows and not dry_run:
            _write_without(path, names)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: cannot be read ({reason}); delete it and run the same command again") from error
    return num_rows


def _write_without(path: Path, names: pa.Array) -> None:
    table = pq.read_table(path, partitioning=None)
    kept = table.filter(pc.invert(pc.is_in(table.column(USER_ID).cast(pa.string()), value_set=names)))
    with replacing_file(path) as temporary:
        pq.write_table(kept, temporary, compression="zstd")  # the schema keeps its metadata, the label of the part


def erase_from_arrays(path: Path, user_data: UserArrays, indices: NDArray[np.int64], *, dry_run: bool) -> int:
    """Erase users from a file of arrays by their ``user_index``; return the number of erased rows or values."""
    changed, count = user_data.without(read_arrays(path), indices)
    if count and not dry_run:
        with replacing_file(path) as temporary:
            write_arrays(temporary, changed)
    return count
