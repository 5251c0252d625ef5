"""Rows of a Parquet file."""

from __future__ import annotations

import contextlib
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from semconv.errors import InputError
from semconv_warehouse.ingest.files.dialect import Dialect, Input
from semconv_warehouse.ingest.files.names import ignored_names, names_remark
from semconv_warehouse.ingest.files.source import REASON, RECORD, ROW, Source, refuse_many_columns
from semconv_warehouse.ingest.values.json_values import bytes_in, json_part

_MOST_DIGITS = 38  # the most digits of a decimal in polars
# Where the hexadecimal digits of a UUID are divided by hyphens: start, and number of digits.
_GROUPS = ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))


def parquet_source(path: Path, file: Input, dialect: Dialect) -> Source:
    """Return the rows of a Parquet file; InputError for a type that polars cannot read."""
    uuids = _checked_types(path)
    rows = pl.scan_parquet(path, row_index_name=ROW, row_index_offset=1, glob=False)
    extensions = [name for name, dtype in rows.collect_schema().items() if isinstance(dtype, pl.BaseExtension)]
    rows = rows.with_columns(pl.col(name).ext.storage() for name in extensions)
    rows = rows.with_columns(_uuid_text(name) for name in uuids)
    ignored = ignored_names(name for name in rows.collect_schema() if name != ROW)
    types = {name: dtype for name, dtype in rows.collect_schema().items() if name != ROW}
    left_out = tuple(found for name, dtype in types.items() for found in bytes_in(name, dtype))
    parts = {name: json_part(pl.col(name), dtype) for name, dtype in types.items() if name not in ignored}
    kept = [part.alias(name) for name, part in parts.items() if part is not None]
    record = pl.struct(kept) if kept else pl.lit(None)
    rows = rows.with_columns(pl.lit(None, pl.String).alias(REASON))
    remarks = names_remark(ignored)
    columns = tuple(name for name in types if name)
    return Source(file, columns, rows, record.alias(RECORD), left_out=left_out, dialect=dialect, remarks=remarks)


def _uuid_text(name: str) -> pl.Expr:
    """Return a column of UUIDs, which are 16 bytes, as their text."""
    digits = pl.col(name).bin.encode("hex")
    return pl.concat_str([digits.str.slice(*group) for group in _GROUPS], separator="-").alias(name)


def _checked_types(file: Path) -> list[str]:
    """Return the columns of UUIDs; raise InputError for a column whose type polars cannot read or would panic at."""
    uuids: list[str] = []
    with contextlib.suppress(pa.ArrowException):  # Leave a damaged file to polars, which reports it.
        schema = pq.ParquetFile(file).schema
        refuse_many_columns(file, len(schema.to_arrow_schema()))
        for column in (schema.column(number) for number in range(len(schema))):
            is_long = column.converted_type == "DECIMAL" and column.precision > _MOST_DIGITS
            if is_long or column.converted_type == "INTERVAL":
                kind = f"decimals of more than {_MOST_DIGITS} digits" if is_long else "intervals"
                raise InputError(
                    f"{file}: column {column.path} holds {kind}, which cannot be read; write the file without this column"
                )
            if column.logical_type.type == "UUID" and column.max_repetition_level == 0 and "." not in column.path:
                uuids.append(column.name)
    return uuids
