"""Files that name users: one id a line of text, or the column ``user_id`` of a csv or Parquet file.

Blanks around an id go, as they do in an ingest. An id with a line break in it needs csv or Parquet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from semconv.columns import USER_ID
from semconv.errors import InputError
from semconv_warehouse.store.database import registered
from semconv_warehouse.store.reading import read_arrow

_SHOWN = 3


def read_user_ids(path: Path) -> list[str]:
    """The distinct user ids of a file, in order of appearance; InputError when there are none to read."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a csv or parquet file with a column user_id, or one id a line")
    try:
        if path.suffix == ".parquet":
            frame = pl.scan_parquet(path).collect_schema(), pl.scan_parquet(path)
        elif path.suffix == ".csv":
            frame = pl.scan_csv(path, infer_schema=False).collect_schema(), pl.scan_csv(path, infer_schema=False)
        else:
            lines = path.read_text("utf-8").split("\n")  # and at none of the other breaks that Unicode knows
            frame = pl.Schema({USER_ID: pl.String}), pl.LazyFrame({USER_ID: lines}, {USER_ID: pl.String})
        schema, rows = frame
        if USER_ID not in schema:
            raise InputError(f"{path}: no column user_id; it has {', '.join(schema)}")
        text = rows.select(pl.col(USER_ID).cast(pl.String).str.strip_chars()).drop_nulls()
        ids = text.filter(pl.col(USER_ID) != "").unique(maintain_order=True).collect()
    except (PolarsError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({str(error).partition(chr(10))[0]})") from error
    return _not_empty(ids[USER_ID].to_list(), path)


def user_indices(connection: sa.Connection, user_ids: Sequence[str], path: Path) -> NDArray[np.int32]:
    """``user_index`` of these users, sorted; InputError counts those that the warehouse does not know."""
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


def _not_empty(ids: list[str], path: Path) -> list[str]:
    if not ids:
        raise InputError(f"{path}: names no user")
    return ids
