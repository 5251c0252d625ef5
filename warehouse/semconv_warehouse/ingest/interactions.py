"""Interactions from files: read and cleaned first, then merged into the warehouse in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import sqlalchemy as sa

from semconv.columns import EVENT_TIME, ITEM_ID, QUERY, RATING, SOURCE_POSITION, USER_ID
from semconv.errors import InputError
from semconv_warehouse.ingest import fields
from semconv_warehouse.ingest.merge import OrderBy, merge_interactions, odd_interactions, stored_order
from semconv_warehouse.ingest.readers import (
    REASON,
    Input,
    Source,
    open_source,
    reading,
    rejected_rows,
    resolve,
    unused_columns,
)
from semconv_warehouse.ingest.report import IngestReport, counts_by_reason, write_rejected
from semconv_warehouse.store.duckdb_store import DuckDBStore

KNOWN: Final = (USER_ID, ITEM_ID, EVENT_TIME, SOURCE_POSITION, RATING, QUERY)
REQUIRED: Final = (USER_ID, ITEM_ID)
_FIELDS: Final[Mapping[str, Callable[[fields.RawColumn], pl.Expr]]] = {
    USER_ID: fields.id_text,
    ITEM_ID: fields.id_text,
    EVENT_TIME: fields.time,
    SOURCE_POSITION: fields.whole_number,
    RATING: fields.number,
    QUERY: fields.text,
}
_OPTIONAL: Final[Mapping[str, pl.DataType]] = {
    EVENT_TIME: pl.Datetime("us"),
    SOURCE_POSITION: pl.Int64(),
    RATING: pl.Float64(),
    QUERY: pl.String(),
}
_ODD_TIME, _ODD_RATING = (
    "times that cannot be read, stored without",
    "ratings that are no finite number, stored without",
)


@dataclass(frozen=True)
class Interactions:
    """Rows of files, cleaned and free of duplicates among themselves, in the order of the files."""

    rows: (
        pa.Table
    )  # KNOWN, arrival (place over all files), occurrence (from 1 among rows that tell no time or position)
    order_by: OrderBy
    files: tuple[str, ...]
    read: int
    duplicate: int
    rejected: pl.DataFrame  # REJECTED_COLUMNS
    odd: Mapping[str, int]
    unused_columns: tuple[str, ...]


def ingest_interactions(
    store: DuckDBStore,
    files: Sequence[Input],
    mapping: Mapping[str, str],
    *,
    order_by_file: bool = False,
    rejected: Path | None = None,
) -> IngestReport:
    """Add interactions from parquet, csv or JSON lines files; what is there already changes nothing.

    Args:
        mapping: our column -> the file's, where the names differ.
        order_by_file: the order of the rows is the order of the sequences (first ingest of a project).
        rejected: where to write the rows that were rejected, with the reason.
    Raises:
        InputError: a file or column is missing or unusable, the order column differs from the first
            ingest's, or a position is taken by another item. Nothing is changed then.
    """
    cleaned = read_interactions(store, files, mapping, order_by_file=order_by_file)
    if rejected is not None:
        write_rejected(cleaned.rejected, rejected)
    with store.write() as connection:
        return merge(connection, cleaned)


def read_interactions(
    store: DuckDBStore, files: Sequence[Input], mapping: Mapping[str, str], *, order_by_file: bool = False
) -> Interactions:
    """Read and clean files without holding the warehouse; errors as :func:`ingest_interactions`."""
    if not files:
        raise InputError("no file to read interactions from")
    with store.read() as connection:
        fixed = stored_order(connection)
    sources = [open_source(file) for file in files]
    columns = [resolve(source, mapping, KNOWN, REQUIRED) for source in sources]
    order_by = _order(fixed, sources, columns, order_by_file=order_by_file)
    parts = [
        _clean(number, source, found, order_by)
        for number, (source, found) in enumerate(zip(sources, columns, strict=True))
    ]
    rows = pl.concat(part for part, _ in parts).with_row_index("arrival")
    rejected = pl.concat(part for _, part in parts)
    if rows.is_empty():
        reasons = ", ".join(f"{reason}: {number}" for reason, number in counts_by_reason(rejected).items())
        raise InputError(f"{', '.join(map(str, files))}: none of {rejected.height} rows can be used ({reasons})")
    distinct = _distinct(rows, order_by)
    unused = [name for source, found in zip(sources, columns, strict=True) for name in unused_columns(source, found)]
    return Interactions(
        rows=distinct.select(*KNOWN, "arrival", "occurrence").to_arrow(),
        order_by=order_by,
        files=tuple(map(str, files)),
        read=rows.height + rejected.height,
        duplicate=rows.height - distinct.height,
        rejected=rejected,
        odd={_ODD_TIME: int(rows["odd_time"].sum()), _ODD_RATING: int(rows["odd_rating"].sum())},
        unused_columns=tuple(dict.fromkeys(unused)),
    )


def merge(connection: sa.Connection, cleaned: Interactions) -> IngestReport:
    """Write cleaned rows inside the caller's transaction."""
    added = merge_interactions(connection, cleaned.rows, cleaned.order_by)
    odd = {**odd_interactions(connection, cleaned.rows), **cleaned.odd}
    return IngestReport(
        kind="interactions",
        files=cleaned.files,
        read=cleaned.read,
        added=added,
        duplicate=cleaned.duplicate + cleaned.rows.num_rows - added,
        rejected=counts_by_reason(cleaned.rejected),
        odd={kind: number for kind, number in odd.items() if number},
        unused_columns=cleaned.unused_columns,
    )


def _order(
    fixed: OrderBy | None, sources: Sequence[Source], columns: Sequence[Mapping[str, str]], *, order_by_file: bool
) -> OrderBy:
    """What orders the sequences: what the first ingest fixed, else what the first file offers."""
    if order_by_file and fixed not in (None, "file"):
        raise InputError(
            f"{sources[0].file}: the first ingest fixed {fixed} as the order of this project; leave out --order file"
        )
    order_by = "file" if order_by_file else fixed or _offered(sources[0], columns[0])
    for source, found in zip(sources, columns, strict=True):
        if order_by != "file" and order_by not in found:
            raise InputError(
                f"{source.file}: no column {order_by}, which orders the sequences of this project since its first ingest; "
                f"it has {', '.join(source.columns)}; name one with --map {order_by}=COLUMN"
            )
    return order_by


def _offered(source: Source, found: Mapping[str, str]) -> OrderBy:
    if SOURCE_POSITION in found:
        return "source_position"
    if EVENT_TIME in found:
        return "event_time"
    raise InputError(
        f"{source.file}: nothing tells the order of a sequence; it has {', '.join(source.columns)}; "
        "name a column with --map event_time=COLUMN or --map source_position=COLUMN, or say --order file"
    )


def _clean(
    number: int, source: Source, found: Mapping[str, str], order_by: OrderBy
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Usable rows of one file with our columns, and rejected ones with their reason."""
    raw = source.select({f"raw_{ours}": theirs for ours, theirs in found.items()})
    with reading(source.file):
        types = raw.collect_schema()
    values = {
        ours: _FIELDS[ours](fields.RawColumn(f"raw_{ours}", theirs, types[f"raw_{ours}"], source.file))
        for ours, theirs in found.items()
    }
    values |= {ours: pl.lit(None, dtype) for ours, dtype in _OPTIONAL.items() if ours not in found}
    shaped = raw.with_columns(values[ours].alias(ours) for ours in KNOWN).with_columns(
        _reason(order_by, types).alias(REASON)
    )
    sound = shaped.filter(pl.col(REASON).is_null()).select(
        *KNOWN, _lost(EVENT_TIME, types).alias("odd_time"), _lost(RATING, types).alias("odd_rating")
    )
    bad = rejected_rows(source, shaped.filter(pl.col(REASON).is_not_null()))
    with reading(source.file):
        sound_rows, bad_rows = pl.collect_all([sound, bad])
    return sound_rows, bad_rows


def _reason(order_by: OrderBy, types: pl.Schema) -> pl.Expr:
    """Why a row cannot be used, null where it can; the first reason that holds."""
    reasons = [pl.col(REASON)]
    reasons += [pl.when(pl.col(column).is_null()).then(pl.lit(f"no {column}")) for column in REQUIRED]
    if order_by != "file":
        what = (
            pl.when(_is_given(order_by, types))
            .then(pl.lit(f"unreadable {order_by}"))
            .otherwise(pl.lit(f"no {order_by}"))
        )
        reasons.append(pl.when(pl.col(order_by).is_null()).then(what))
    return pl.coalesce(reasons)


def _lost(column: str, types: pl.Schema) -> pl.Expr:
    """Whether a value is there that could not be read."""
    return pl.col(column).is_null() & _is_given(column, types)


def _is_given(column: str, types: pl.Schema) -> pl.Expr:
    """Whether the file has a value, empty text aside."""
    name = f"raw_{column}"
    if name not in types:
        return pl.lit(False)
    raw = pl.col(name)
    # Only text is compared as text: a moment far out of range has no words.
    is_text = isinstance(types[name], pl.String | pl.Categorical | pl.Enum)
    return raw.is_not_null() & (raw.cast(pl.String) != "") if is_text else raw.is_not_null()


def _distinct(rows: pl.DataFrame, order_by: OrderBy) -> pl.DataFrame:
    """Without rows that say the same again, the first one kept; with ``occurrence`` where only that tells rows apart."""
    timed = pl.col(EVENT_TIME).is_not_null()
    placed = pl.col(SOURCE_POSITION).is_not_null()
    if order_by == "source_position":
        rows = rows.unique([USER_ID, ITEM_ID, SOURCE_POSITION], keep="first", maintain_order=True)
    first_of_time = pl.struct(USER_ID, ITEM_ID, EVENT_TIME).is_first_distinct()
    first_of_place = pl.struct(USER_ID, ITEM_ID, SOURCE_POSITION).is_first_distinct()
    if rows[EVENT_TIME].null_count() == 0:
        rows = rows.unique([USER_ID, ITEM_ID, EVENT_TIME], keep="first", maintain_order=True)
    else:
        rows = pl.concat(
            [
                rows.filter(timed).filter(first_of_time),
                rows.filter(~timed & placed).filter(first_of_place),
                rows.filter(~timed & ~placed),
            ]
        ).sort("arrival")
    bare = rows[EVENT_TIME].is_null() & rows[SOURCE_POSITION].is_null()
    if not bare.any():
        return rows.with_columns(pl.lit(1, pl.Int64).alias("occurrence"))
    occurrence = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(USER_ID, ITEM_ID, EVENT_TIME, SOURCE_POSITION)
    return rows.with_columns(occurrence.alias("occurrence"))
