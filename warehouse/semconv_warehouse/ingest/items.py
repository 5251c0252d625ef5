"""Ingest of item metadata: read and clean files, then merge the rows into the warehouse in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import sqlalchemy as sa

from semconv.columns import ATTRIBUTES, BRAND, CATEGORIES, DESCRIPTION, ITEM_ID, TITLE
from semconv.errors import InputError
from semconv_warehouse.ingest import fields
from semconv_warehouse.ingest.merge_items import merge_items
from semconv_warehouse.ingest.readers import (
    REASON,
    RECORD,
    ROW,
    Input,
    Source,
    open_source,
    reading,
    resolve,
)
from semconv_warehouse.ingest.records import rejected_rows, rest_as_json
from semconv_warehouse.ingest.report import IngestReport, counts_by_reason, joined, write_rejected
from semconv_warehouse.store.duckdb_store import DuckDBStore

KNOWN: Final = (ITEM_ID, TITLE, DESCRIPTION, BRAND, CATEGORIES)
_TYPES: Final = {
    ITEM_ID: pl.String(),
    TITLE: pl.String(),
    DESCRIPTION: pl.String(),
    BRAND: pl.String(),
    CATEGORIES: pl.List(pl.String),
}


@dataclass(frozen=True)
class Items:
    """Cleaned rows of files, one for each item, in the order in which the items first appear.

    Attributes:
        rows: the columns KNOWN, ``attributes`` as JSON text, and ``arrival``, the position of the item's first row.
        files: names of the files, for reports.
        read: number of rows in the files.
        duplicate: number of rows that a later row of the same item replaces.
        rejected: rows that cannot be used, with REJECTED_COLUMNS.
        columns: the known columns that at least one file has.
        left_out: columns of bytes, which cannot be stored as attributes.
    """

    rows: pl.DataFrame
    files: tuple[str, ...]
    read: int
    duplicate: int
    rejected: pl.DataFrame
    columns: frozenset[str]
    left_out: tuple[str, ...]


def ingest_items(
    store: DuckDBStore,
    files: Sequence[Input],
    mapping: Mapping[str, str],
    *,
    snapshot: bool = False,
    rejected: Path | None = None,
) -> IngestReport:
    """Add or update items from Parquet, CSV or JSON lines files. Unknown columns are stored in ``attributes``.

    A missing value does not change the stored value, unless the files are a snapshot of the whole catalogue.

    Args:
        mapping: known column -> name in the files, where the two differ.
        snapshot: the files are the whole catalogue; mark all other items as removed.
        rejected: file to write rejected rows to, with their reasons.

    Raises:
        InputError: a file or column is missing or unusable. The warehouse is unchanged then.
    """
    cleaned = read_items(files, mapping)
    if rejected is not None:
        write_rejected(cleaned.rejected, rejected)
    with store.write() as connection:
        return merge(connection, cleaned, snapshot=snapshot)


def read_items(files: Sequence[Input], mapping: Mapping[str, str]) -> Items:
    """Read and clean files without opening the warehouse; raise the errors of :func:`ingest_items`."""
    if not files:
        raise InputError("no file to read items from; name at least one")
    sources = [open_source(file) for file in files]
    columns = [resolve(source, mapping, KNOWN, (ITEM_ID,)) for source in sources]
    parts = [_clean(source, found) for source, found in zip(sources, columns, strict=True)]
    rows, rejected = joined(parts, files)
    distinct = rows.with_columns(pl.col("arrival").min().over(ITEM_ID).alias("first")).unique(ITEM_ID, keep="last")
    return Items(
        rows=distinct.with_columns(pl.col("first").alias("arrival")).drop("first").sort("arrival"),
        files=tuple(map(str, files)),
        read=rows.height + rejected.height,
        duplicate=rows.height - distinct.height,
        rejected=rejected,
        columns=frozenset(ours for found in columns for ours in found),
        left_out=tuple(dict.fromkeys(name for source in sources for name in source.left_out)),
    )


def merge(connection: sa.Connection, cleaned: Items, *, snapshot: bool = False) -> IngestReport:
    """Merge cleaned items into the warehouse, in the caller's transaction."""
    counts = merge_items(connection, cleaned.rows.to_arrow(), cleaned.columns, snapshot=snapshot)
    without_text = cleaned.rows.filter(pl.col(TITLE).is_null() & pl.col(DESCRIPTION).is_null()).height
    return IngestReport(
        kind="items",
        files=cleaned.files,
        read=cleaned.read,
        added=counts.added,
        updated=counts.updated,
        duplicate=cleaned.duplicate + cleaned.rows.height - counts.added - counts.updated,
        rejected=counts_by_reason(cleaned.rejected),
        odd={"items without text": without_text} if without_text else {},
        removed=counts.removed,
        restored=counts.restored,
        left_out=cleaned.left_out,
    )


def _clean(source: Source, found: Mapping[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the usable rows of one file with known columns and attributes, and the rejected rows with reasons."""
    rows, raw = source.raw_columns(found)
    values = {ours: pl.lit(None, dtype) for ours, dtype in _TYPES.items()}
    values |= {ours: _value(ours, column, source.is_json) for ours, column in raw.items()}
    shaped = rows.select(ROW, REASON, RECORD, *(values[ours].alias(ours) for ours in KNOWN)).with_columns(
        pl.coalesce(REASON, pl.when(pl.col(ITEM_ID).is_null()).then(pl.lit(f"no {ITEM_ID}"))).alias(REASON)
    )
    used = [part for theirs in found.values() for part in source.parts(theirs)]
    with reading(source.file):
        frame = shaped.collect()
        usable, rejected = frame.filter(pl.col(REASON).is_null()), frame.filter(pl.col(REASON).is_not_null())
        usable = usable.with_columns(rest_as_json(source, usable, used).alias(ATTRIBUTES))
        return usable.select(*KNOWN, ATTRIBUTES), rejected_rows(source, rejected.lazy()).collect()


def _value(ours: str, raw: fields.RawColumn, is_json: bool) -> pl.Expr:
    if ours == ITEM_ID:
        return fields.id_text(raw)
    return fields.text_list(raw) if ours == CATEGORIES else fields.text(raw, may_be_json=is_json)
