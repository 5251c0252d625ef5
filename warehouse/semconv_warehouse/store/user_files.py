"""Read user ids from a file: a text file with one id in each line, or the column ``user_id`` of a CSV or Parquet file.

Blanks around an id are removed, as in an ingest. Ids that contain a line break can only be given in CSV or Parquet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from semconv.columns import USER_ID
from semconv.errors import InputError
from semconv_warehouse.store.database import registered
from semconv_warehouse.store.encodings import text_of
from semconv_warehouse.store.reading import read_arrow

_SHOWN = 3


def read_user_ids(path: Path) -> list[str]:
    """Return the distinct user ids of a file in order of appearance; InputError if it cannot be read or has none."""
    if not path.is_file():
        raise InputError(
            f"{path}: no such file; give a CSV or Parquet file with a column user_id, or a text file with one id in each line"
        )
    try:
        if path.suffix == ".parquet":
            pq.read_schema(path)  # refuses types nested so deep that polars would exceed the stack
            rows = pl.scan_parquet(path, glob=False)
        elif path.suffix in (".csv", ".tsv"):
            text = text_of(path.read_bytes(), path)
            header = text.partition("\n")[0]
            separator = next((sign for sign in (",", ";", "\t", "|") if sign in header), ",")
            rows = pl.read_csv(text.encode(), separator=separator, infer_schema=False).lazy()
        else:
            lines = text_of(path.read_bytes(), path).split(
                "\n"
            )  # splitlines() would split at other line breaks of Unicode too
            rows = pl.LazyFrame({USER_ID: lines}, {USER_ID: pl.String})
        schema = rows.collect_schema()
        if USER_ID not in schema:
            raise InputError(f"{path}: no column user_id; it has {', '.join(schema)}; rename the column with the ids")
        named = rows.select(pl.col(USER_ID).cast(pl.String).str.strip_chars()).drop_nulls()
        ids = named.filter(pl.col(USER_ID) != "").unique(maintain_order=True).collect()
    except (PolarsError, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({str(error).partition(chr(10))[0]}); write the file again"
        ) from error
    if ids.is_empty():
        raise InputError(f"{path}: contains no user id; add at least one")
    found: list[str] = ids[USER_ID].to_list()
    return found


def user_indices(connection: sa.Connection, user_ids: Sequence[str], path: Path) -> NDArray[np.int32]:
    """Return the sorted ``user_index`` of some users; InputError if users are unknown, with their number."""
    with registered(connection, pa.table({"user_id": pa.array(user_ids, pa.string())})) as asked:
        found = read_arrow(
            connection,
            f"SELECT user_id, user_index FROM {asked} LEFT JOIN user_account USING (user_id)",  # noqa: S608
        )
    index = found["user_index"]
    if index.null_count:
        unknown = sorted(found.filter(index.combine_chunks().is_null())["user_id"].to_pylist())
        shown = ", ".join(unknown[:_SHOWN]) + (", ..." if len(unknown) > _SHOWN else "")
        raise InputError(
            f"{path}: {len(unknown)} of {len(user_ids)} users are unknown ({shown}); ingest their interactions first"
        )
    return np.sort(index.combine_chunks().to_numpy().astype(np.int32))
