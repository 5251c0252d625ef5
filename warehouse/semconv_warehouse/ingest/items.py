"""Item metadata from files: read and cleaned first, then merged into the warehouse in one transaction."""

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
    rejected_rows,
    resolve,
    rest_as_json,
)
from semconv_warehouse.ingest.report import IngestReport, counts_by_reason, write_rejected
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
    """Rows of files, cleaned, one an item: the last one of those with its id, in the order of first appearance."""

    rows: pl.DataFrame  # KNOWN, attributes (JSON text), arrival
    files: tuple[str, ...]
    read: int
    duplicate: int
    rejected: pl.DataFrame  # REJECTED_COLUMNS
    columns: frozenset[str]  # of ours, that the files have


def ingest_items(
    store: DuckDBStore,
    files: Sequence[Input],
    mapping: Mapping[str, str],
    *,
    snapshot: bool = False,
    rejected: Path | None = None,
) -> IngestReport:
    """Add or update items from parquet, csv or JSON lines files; columns beside ours go to ``attributes``.

    A value that is missing leaves the stored one as it is, except in a snapshot.

    Args:
        mapping: our column -> the file's, where the names differ.
        snapshot: the files are the whole catalogue; other items are marked removed.
        rejected: where to write the rows that were rejected, with the reason.
    Raises:
        InputError: a file or column is missing or unusable. Nothing is changed then.
    """
    cleaned = read_items(files, mapping)
    if rejected is not None:
        write_rejected(cleaned.rejected, rejected)
    with store.write() as connection:
        return merge(connection, cleaned, snapshot=snapshot)


def read_items(files: Sequence[Input], mapping: Mapping[str, str]) -> Items:
    """Read and clean files without the warehouse; errors as :func:`ingest_items`."""
    if not files:
        raise InputError("no file to read items from")
    sources = [open_source(file) for file in files]
    columns = [resolve(source, mapping, KNOWN, (ITEM_ID,)) for source in sources]
    parts = [_clean(source, found) for source, found in zip(sources, columns, strict=True)]
    rows = pl.concat(part for part, _ in parts).with_row_index("arrival")
    rejected = pl.concat(part for _, part in parts)
    if rows.is_empty():
        reasons = ", ".join(f"{reason}: {number}" for reason, number in counts_by_reason(rejected).items())
        raise InputError(f"{', '.join(map(str, files))}: none of {rejected.height} rows can be used ({reasons})")
    distinct = rows.with_columns(pl.col("arrival").min().over(ITEM_ID).alias("first")).unique(ITEM_ID, keep="last")
    return Items(
        rows=distinct.with_columns(pl.col("first").alias("arrival")).drop("first").sort("arrival"),
        files=tuple(map(str, files)),
        read=rows.height + rejected.height,
        duplicate=rows.height - distinct.height,
        rejected=rejected,
        columns=frozenset(ours for found in columns for ours in found),
    )


def merge(connection: sa.Connection, cleaned: Items, *, snapshot: bool = False) -> IngestReport:
    """Write cleaned items inside the caller's transaction."""
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
    )


def _clean(source: Source, found: Mapping[str, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Usable rows of one file with our columns and attributes, and rejected ones with their reason."""
    raw = source.select({f"raw_{ours}": theirs for ours, theirs in found.items()})
    with reading(source.file):
        types = raw.collect_schema()
    values = {ours: pl.lit(None, dtype) for ours, dtype in _TYPES.items()}
    for ours, theirs in found.items():
        values[ours] = _value(
            ours, fields.RawColumn(f"raw_{ours}", theirs, types[f"raw_{ours}"], source.file), source.is_json
        )
    shaped = raw.select(ROW, REASON, RECORD, *(values[ours].alias(ours) for ours in KNOWN)).with_columns(
        pl.coalesce(REASON, pl.when(pl.col(ITEM_ID).is_null()).then(pl.lit(f"no {ITEM_ID}"))).alias(REASON)
    )
    with reading(source.file):
        frame = shaped.collect()
    sound, bad = frame.filter(pl.col(REASON).is_null()), frame.filter(pl.col(REASON).is_not_null())
    used = [part for theirs in found.values() for part in source.parts(theirs)]
    sound = sound.with_columns(rest_as_json(source, sound, used).alias(ATTRIBUTES))
    return sound.select(*KNOWN, ATTRIBUTES), rejected_rows(source, bad.lazy()).collect()


def _value(ours: str, raw: fields.RawColumn, is_json: bool) -> pl.Expr:
    if ours == ITEM_ID:
        return fields.id_text(raw)
    return fields.text_list(raw) if ours == CATEGORIES else fields.text(raw, may_be_json=is_json)
