"""Rows that another reader made from a file, as a source like any other file."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from semconv_warehouse.ingest.files.dialect import InMemory
from semconv_warehouse.ingest.files.json_rows import json_rows, sampled_keys
from semconv_warehouse.ingest.files.source import REASON, RECORD, ROW, Source


def memory_source(file: InMemory) -> Source:
    """Return the rows of a table, or of JSON objects if the table has the column RECORD."""
    rows = file.rows.lazy().with_row_index(ROW, offset=1)
    if RECORD in file.rows.columns:
        source = Source(file, (), json_rows(rows), pl.col(RECORD), is_json=True)
        return replace(source, columns=sampled_keys(source))
    record = pl.struct(file.rows.columns).alias(RECORD)
    return Source(file, tuple(file.rows.columns), rows.with_columns(pl.lit(None, pl.String).alias(REASON)), record)
