"""Read item vectors that were made outside semconv from a Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv.columns import ITEM_ID, VECTOR
from semconv.errors import InputError


def read_given(path: Path, item_ids: Sequence[str]) -> tuple[NDArray[np.int32], list[NDArray[np.float64]], int]:
    """Read vectors from a Parquet file for the items of the catalogue.

    Returns:
        item index ``(M,)``, the M vectors, and the number of items of the file that are not in the catalogue.

    Raises:
        InputError: the file is not a Parquet file, or a column is missing or of another type.
    """
    try:
        table = pq.read_table(path, columns=[ITEM_ID, VECTOR])
    except (pa.ArrowInvalid, pa.ArrowKeyError, KeyError, OSError) as error:
        raise InputError(
            f"{path}: not a Parquet file with the columns {ITEM_ID} and {VECTOR} ({str(error).splitlines()[0]}); write it again"
        ) from error
    kind = table.schema.field(VECTOR).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not pa.types.is_floating(kind.value_type):
        raise InputError(f"{path}: column {VECTOR} has the type {kind}, but must be a list of floats; convert it")
    known = {item_id: index for index, item_id in enumerate(item_ids)}
    ids = [str(value) for value in table.column(ITEM_ID).to_pylist()]
    rows = [row for row, item_id in enumerate(ids) if item_id in known]
    vectors = table.column(VECTOR).take(pa.array(rows, pa.int64())).to_pylist()
    index = np.array([known[ids[row]] for row in rows], dtype=np.int32)
    return (
        index,
        [np.array(vector if vector is not None else [], dtype=np.float64) for vector in vectors],
        len(ids) - len(rows),
    )
