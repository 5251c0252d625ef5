"""Write rows as JSON text: rejected rows, and the columns of an item that become its attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import polars as pl

from semconv.columns import ATTRIBUTES
from semconv_warehouse.ingest import fields
from semconv_warehouse.ingest.readers import REASON, RECORD, ROW, Source
from semconv_warehouse.ingest.report import Rejected
from semconv_warehouse.ingest.values.json_values import instance, strict_json


def usable_rows(source: Source, batch: pl.DataFrame, rejected: Rejected) -> pl.DataFrame:
    """Return the rows without a reason why they cannot be used. The others are counted and written."""
    usable = pl.col(REASON).is_null()
    others = batch.filter(~usable)
    rejected.count(others[REASON])
    if rejected.is_written:
        rejected.write(_rejected_rows(source, others))
    return batch.filter(usable)


def _rejected_rows(source: Source, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rejected rows with REJECTED_COLUMNS, as they are shown to users; ``record`` is JSON text."""
    if source.is_json:
        record = pl.col(RECORD)
    else:
        values = [
            fields.printable(pl.col(RECORD).struct.field(name), dtype).alias(name)
            for name, dtype in _record_types(rows.schema).items()
        ]
        record = pl.struct(values).struct.json_encode() if values else pl.lit("{}")
    return rows.select(
        pl.lit(str(source.file)).alias("file"),
        pl.col(ROW).cast(pl.Int64).alias("row"),
        pl.col(REASON).alias("reason"),
        record.alias("record"),
    )


def rest_as_json(source: Source, frame: pl.DataFrame, used: Sequence[str]) -> pl.Series:
    """Return the unused columns of each row as strict JSON text, null for a row without values in them.

    NaN and infinity count as missing values.
    """
    records = frame.select(RECORD)
    if source.is_json:
        value, parameters = f"json_merge_patch({RECORD}, $without)", {"without": json.dumps(dict.fromkeys(used))}
    else:
        names = [name for name in _record_types(frame.schema) if name not in used]
        if not names:
            return pl.Series(RECORD, [None] * frame.height, dtype=pl.String)
        records = records.select(pl.struct(pl.col(RECORD).struct.field(*names)).alias(RECORD))
        # json_merge_patch into {} drops members that are null.
        value, parameters = f"json_merge_patch('{{}}', to_json({RECORD}))", {}
    rest = _computed(records, value, parameters)
    strict = rest.to_frame().select(strict_json(pl.col(RECORD)))
    # The members that became null are dropped too.
    return rest if strict[RECORD].equals(rest) else _computed(strict, f"json_merge_patch('{{}}', {RECORD})", {})


def _computed(records: pl.DataFrame, value: str, parameters: Mapping[str, str]) -> pl.Series:
    """Return the value of an SQL expression for each record as text, null for an empty object."""
    with duckdb.connect() as memory:
        memory.register("records", records.with_row_index("row").to_arrow())
        sql = f"SELECT nullif(({value})::VARCHAR, '{{}}') AS {RECORD} FROM records ORDER BY row"  # noqa: S608
        result = pl.from_arrow(memory.sql(sql, params=dict(parameters)).to_arrow_table())
    return pl.DataFrame(result)[RECORD]


def _record_types(schema: pl.Schema) -> dict[str, pl.DataType]:
    record = schema[RECORD]
    return {field.name: instance(field.dtype) for field in record.fields} if isinstance(record, pl.Struct) else {}


def latest_values(rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return one row for each key, in the order in which the keys first appear (``arrival``).

    A value is that of the latest row that has one, and attributes are those of all rows together.
    """
    repeated = rows.filter(pl.col(key).is_duplicated())
    if repeated.is_empty():
        return rows.sort("arrival")
    values = [pl.col(name).drop_nulls().last() for name in rows.columns if name not in (key, "arrival", ATTRIBUTES)]
    merged = (
        repeated.sort("arrival")
        .group_by(key, maintain_order=True)
        .agg(*values, pl.col(ATTRIBUTES).drop_nulls(), pl.col("arrival").min())
    )
    together = pl.col(ATTRIBUTES).map_elements(_together, return_dtype=pl.String)
    single = rows.filter(~pl.col(key).is_duplicated())
    return pl.concat([single, merged.with_columns(together).select(rows.columns)]).sort("arrival")


def _together(objects: pl.Series) -> str | None:
    """Return JSON objects as one, in which the members of later objects replace those of earlier ones."""
    if len(objects) < 2:
        return objects[0] if len(objects) else None
    members: dict[str, Any] = {}
    for text in objects:
        members |= json.loads(text)
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))
