"""Write rows as JSON text: rejected rows, and the columns of an item that become its attributes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import duckdb
import polars as pl

from semconv_warehouse.ingest import fields
from semconv_warehouse.ingest.json_values import instance
from semconv_warehouse.ingest.readers import REASON, RECORD, ROW, Source


def rejected_rows(source: Source, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return rejected rows with REJECTED_COLUMNS, as they are shown to users; ``record`` is JSON text."""
    if source.is_json:
        record = pl.col(RECORD)
    else:
        values = [
            fields.printable(pl.col(RECORD).struct.field(name), dtype).alias(name)
            for name, dtype in _record_types(rows.collect_schema()).items()
        ]
        record = pl.struct(values).struct.json_encode() if values else pl.lit("{}")
    return rows.select(
        pl.lit(str(source.file)).alias("file"),
        pl.col(ROW).cast(pl.Int64).alias("row"),
        pl.col(REASON).alias("reason"),
        record.alias("record"),
    )


def rest_as_json(source: Source, frame: pl.DataFrame, used: Sequence[str]) -> pl.Series:
    """Return the unused columns of each row as JSON text, null for a row without values in them."""
    records = frame.select(RECORD)
    if source.is_json:
        value, parameters = f"json_merge_patch({RECORD}, $without)", {"without": json.dumps(dict.fromkeys(used))}
    else:
        rest = [name for name in _record_types(frame.schema) if name not in used]
        if not rest:
            return pl.Series(RECORD, [None] * frame.height, dtype=pl.String)
        records = records.select(pl.struct(pl.col(RECORD).struct.field(*rest)).alias(RECORD))
        # json_merge_patch into {} drops members that are null.
        value, parameters = f"json_merge_patch('{{}}', to_json({RECORD}))", {}
    with duckdb.connect() as memory:
        memory.register("records", records.with_row_index("row").to_arrow())
        sql = f"SELECT nullif(({value})::VARCHAR, '{{}}') AS {RECORD} FROM records ORDER BY row"  # noqa: S608
        result = pl.from_arrow(memory.sql(sql, params=parameters).to_arrow_table())
    return pl.DataFrame(result)[RECORD]


def _record_types(schema: pl.Schema) -> dict[str, pl.DataType]:
    record = schema[RECORD]
    return {field.name: instance(field.dtype) for field in record.fields} if isinstance(record, pl.Struct) else {}
