"""Ingest of interactions: read and clean files, then merge the rows into the warehouse in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import sqlalchemy as sa

from semconv.clock import utc_now
from semconv.columns import EVENT_TIME, EVENT_TYPE, ITEM_ID, QUERY, RATING, SOURCE_POSITION, USER_ID
from semconv.errors import InputError
from semconv_warehouse.ingest import fields
from semconv_warehouse.ingest.merge import OrderBy, merge_interactions, odd_interactions, stored_order
from semconv_warehouse.ingest.readers import (
    REASON,
    RECORD,
    ROW,
    Input,
    Source,
    open_source,
    remarks_of,
    resolve,
    unused_columns,
)
from semconv_warehouse.ingest.records import usable_rows
from semconv_warehouse.ingest.report import IngestReport, Rejected, joined, rejected_file, shown_columns
from semconv_warehouse.ingest.values.looks import columns_of
from semconv_warehouse.ingest.values.times import FORMS
from semconv_warehouse.store.duckdb_store import DuckDBStore

KNOWN: Final = (USER_ID, ITEM_ID, EVENT_TIME, SOURCE_POSITION, RATING, QUERY, EVENT_TYPE)
REQUIRED: Final = (USER_ID, ITEM_ID)
_FIELDS: Final[Mapping[str, Callable[[fields.RawColumn], pl.Expr]]] = {
    USER_ID: fields.id_text,
    ITEM_ID: fields.id_text,
    EVENT_TIME: fields.time,
    SOURCE_POSITION: fields.whole_number,
    RATING: fields.number,
    QUERY: fields.text,
    EVENT_TYPE: fields.category,
}
_OPTIONAL: Final[Mapping[str, pl.DataType]] = {
    EVENT_TIME: pl.Datetime("us"),
    SOURCE_POSITION: pl.Int64(),
    RATING: pl.Float64(),
    QUERY: pl.String(),
    EVENT_TYPE: pl.Categorical(),
}
_MOST_TYPES: Final = 255  # more different values than this are no event types
_ODD_TIME, _ODD_RATING = (
    "rows stored without their time, which cannot be read",
    "rows stored without their rating, which is no finite number",
)
_EARLY, _FUTURE = "times before 1980", "times in the future"
_FIRST_USUAL_TIME: Final = datetime(1980, 1, 1)  # noqa: DTZ001
_TOLERANCE: Final = timedelta(days=1)  # a local time without its zone may be ahead of UTC
_UNREADABLE: Final = f"unreadable {EVENT_TIME}"


@dataclass(frozen=True)
class Interactions:
    """Cleaned rows of files without duplicates, in the order of the files.

    Attributes:
        rows: the columns KNOWN; ``arrival``, the row's number over all files; and ``occurrence``, which numbers from 1
            the rows that have equal ids and neither a time nor a position.
        order_by: the column, or the order of the file, by which each user's sequence is ordered.
        files: names of the files, for reports.
        read: number of rows in the files.
        duplicate: number of rows that repeat an earlier row of these files.
        rejected: reason -> number of rows that cannot be used.
        odd: kind of an unusual value -> the number of such values.
        unused_columns: columns of the files that are not read.
        remarks: sentences about how the files were read.
        examples: reason or kind of an unusual value -> the first such value.
    """

    rows: pa.Table
    order_by: OrderBy
    files: tuple[str, ...]
    read: int
    duplicate: int
    rejected: Mapping[str, int]
    odd: Mapping[str, int]
    unused_columns: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    examples: Mapping[str, str] = field(default_factory=dict)


def ingest_interactions(
    store: DuckDBStore,
    files: Sequence[Input],
    mapping: Mapping[str, str],
    *,
    order_by_file: bool = False,
    rejected: Path | None = None,
    no_formulas: bool = False,
) -> IngestReport:
    """Add interactions from Parquet, CSV or JSON lines files. Rows that the warehouse already has are skipped.

    Args:
        mapping: known column -> name in the files, where the two differ.
        order_by_file: order each user's sequence by the order of the rows in the files. This is refused if the first
            ingest of the project ordered the sequences by a column.
        rejected: file to write rejected rows to, with their reasons.
        no_formulas: put an apostrophe before each text of ``rejected`` that a spreadsheet would compute as a formula.

    Raises:
        InputError: a file or column is missing or unusable, the files lack the column by which sequences are ordered,
            or a user's position is already taken by another item. The warehouse is unchanged then.
    """
    with rejected_file(rejected, no_formulas=no_formulas) as rows:
        cleaned = read_interactions(store, files, mapping, rows, order_by_file=order_by_file)
    with store.write() as connection:
        return merge(connection, cleaned)


def read_interactions(
    store: DuckDBStore,
    files: Sequence[Input],
    mapping: Mapping[str, str],
    rejected: Rejected,
    *,
    order_by_file: bool = False,
) -> Interactions:
    """Read and clean files without keeping the warehouse open; raise the errors of :func:`ingest_interactions`."""
    if not files:
        raise InputError("no file to read interactions from; name at least one")
    with store.read() as connection:
        fixed = stored_order(connection)
    wanted = [mapping.get(ours, ours) for ours in REQUIRED]
    sources = [open_source(file, wanted) for file in files]
    columns = [resolve(source, mapping, KNOWN, REQUIRED) for source in sources]
    order_by = _order(fixed, sources, columns, order_by_file=order_by_file)
    before, odd = rejected.counts.copy(), Counter[str]()
    parts = (
        rows
        for source, found in zip(sources, columns, strict=True)
        for rows in _cleaned(source, found, order_by, rejected, odd)
    )
    rows = joined(parts, rejected, files, {_UNREADABLE: FORMS})
    unusable = rejected.counts - before
    _require_types(rows, files)
    distinct = _distinct(rows, order_by)
    unused = [name for source, found in zip(sources, columns, strict=True) for name in unused_columns(source, found)]
    for source in sources:
        odd.update(source.counts)
    _look_at_times(rows[EVENT_TIME], odd, rejected)
    return Interactions(
        rows=distinct.select(*KNOWN, "arrival", "occurrence").to_arrow(),
        order_by=order_by,
        files=tuple(map(str, files)),
        read=rows.height + unusable.total(),
        duplicate=rows.height - distinct.height,
        rejected=dict(unusable),
        odd=dict(odd),
        unused_columns=tuple(dict.fromkeys(unused)),
        remarks=remarks_of(sources) + ((FORMS,) if _UNREADABLE in unusable or odd[_ODD_TIME] else ()),
        examples={kind: value for kind, value in rejected.examples.items() if kind in unusable or odd[kind]},
    )


def _look_at_times(times: pl.Series, odd: Counter[str], rejected: Rejected) -> None:
    """Count the times that events of a shop do not have, and keep the first of each kind."""
    latest = utc_now().replace(tzinfo=None) + _TOLERANCE
    for kind, unusual in ((_EARLY, times < _FIRST_USUAL_TIME), (_FUTURE, times > latest)):
        if number := int(unusual.sum()):
            odd[kind] = number
            rejected.examples.setdefault(kind, str(times.filter(unusual)[0]))


def merge(connection: sa.Connection, cleaned: Interactions) -> IngestReport:
    """Merge cleaned rows into the warehouse, in the caller's transaction."""
    added = merge_interactions(connection, cleaned.rows, cleaned.order_by)
    odd = {**odd_interactions(connection, cleaned.rows), **cleaned.odd}
    return IngestReport(
        kind="interactions",
        files=cleaned.files,
        read=cleaned.read,
        added=added,
        duplicate=cleaned.duplicate + cleaned.rows.num_rows - added,
        rejected=cleaned.rejected,
        odd={kind: number for kind, number in odd.items() if number},
        types=_count_types(cleaned.rows),
        unused_columns=cleaned.unused_columns,
        remarks=cleaned.remarks,
        examples=cleaned.examples,
    )


def _order(
    fixed: OrderBy | None, sources: Sequence[Source], columns: Sequence[Mapping[str, str]], *, order_by_file: bool
) -> OrderBy:
    """Return the order of the sequences: the choice of the project's first ingest, else a column of the first file."""
    if order_by_file and fixed not in (None, "file"):
        raise InputError(
            f"{sources[0].file}: --order file cannot be used, because the first ingest of this project ordered the sequences by"
            f" {fixed}; leave out --order file"
        )
    order_by = "file" if order_by_file else fixed or _offered(sources[0], columns[0])
    for source, found in zip(sources, columns, strict=True):
        if order_by != "file" and order_by not in found:
            raise InputError(
                f"{source.file}: no column {order_by}, by which the sequences of this project have been ordered since its first ingest; "
                f"the file has {shown_columns(source.columns)}; name its column with --map {order_by}=COLUMN"
            )
    return order_by


def _offered(source: Source, found: Mapping[str, str]) -> OrderBy:
    if SOURCE_POSITION in found:
        return "source_position"
    if EVENT_TIME in found:
        return "event_time"
    raise InputError(
        f"{source.file}: no column gives the order of a user's interactions; the file has {shown_columns(source.columns)}; "
        "name a column with --map event_time=COLUMN or --map source_position=COLUMN, or give --order file"
    )


def _cleaned(
    source: Source, found: Mapping[str, str], order_by: OrderBy, rejected: Rejected, odd: Counter[str]
) -> Iterator[pl.DataFrame]:
    """Yield the usable rows of one file with the known columns in batches, and hand the others to ``rejected``.

    Values that are lost are counted in ``odd``.
    """
    selected, raw = columns_of(source, found)
    values = {ours: pl.lit(None, dtype) for ours, dtype in _OPTIONAL.items()}
    values |= {ours: _FIELDS[ours](column) for ours, column in raw.items()}
    kept = [ROW, RECORD] if rejected.is_written else []
    reason = _reason(order_by, raw)
    lost = {_ODD_TIME: EVENT_TIME, _ODD_RATING: RATING}
    lost = {kind: column for kind, column in lost.items() if column in raw}
    lost_values = [
        pl.when(_is_lost(column, raw))
        .then(fields.printable(pl.col(raw[column].name), raw[column].dtype).cast(pl.String))
        .alias(kind)
        for kind, column in lost.items()
    ]

    def shape(rows: pl.LazyFrame) -> pl.LazyFrame:
        shaped = rows.select(selected).with_columns(values[ours].alias(ours) for ours in KNOWN)
        return shaped.select(*KNOWN, *lost_values, *kept, reason.alias(REASON))

    for batch in source.batches(shape):
        if _ODD_TIME in lost:
            rejected.note(
                batch[REASON].filter(batch[REASON] == _UNREADABLE),
                batch[_ODD_TIME].filter(batch[REASON] == _UNREADABLE),
            )
        usable = usable_rows(source, batch, rejected)
        for kind in lost:
            values_of_kind = usable[kind].drop_nulls()
            odd[kind] += len(values_of_kind)
            rejected.note(pl.repeat(kind, min(len(values_of_kind), 1), eager=True), values_of_kind.head(1))
        yield usable.select(*KNOWN)


def _reason(order_by: OrderBy, raw: Mapping[str, fields.RawColumn]) -> pl.Expr:
    """Return the first reason why each row cannot be used, null if it can."""
    reasons = [pl.col(REASON), *(fields.id_problem(column) for column in REQUIRED)]
    if order_by != "file":
        missing = (
            pl.when(_is_given(order_by, raw)).then(pl.lit(f"unreadable {order_by}")).otherwise(pl.lit(f"no {order_by}"))
        )
        reasons.append(pl.when(pl.col(order_by).is_null()).then(missing))
    return pl.coalesce(reasons)


def _is_lost(column: str, raw: Mapping[str, fields.RawColumn]) -> pl.Expr:
    """Return whether each row has a value that could not be read."""
    return pl.col(column).is_null() & _is_given(column, raw)


def _is_given(column: str, raw: Mapping[str, fields.RawColumn]) -> pl.Expr:
    """Return a boolean for each row: whether the row has a value that is not empty text."""
    if column not in raw:
        return pl.lit(False)
    value = pl.col(raw[column].name)
    # Other types are not cast to text, because the cast fails for a time far out of range.
    is_text = isinstance(raw[column].dtype, pl.String | pl.Categorical | pl.Enum)
    return value.is_not_null() & (value.cast(pl.String) != "") if is_text else value.is_not_null()


def _require_types(rows: pl.DataFrame, files: Sequence[Input]) -> None:
    """Raise InputError if a column has too many different values for a column of event types."""
    number = rows[EVENT_TYPE].n_unique()
    if number > _MOST_TYPES:
        raise InputError(
            f"{', '.join(map(str, files))}: the column event_type has {number:,} different values, but at most {_MOST_TYPES}"
            " event types are allowed; name another column with --map event_type=COLUMN"
        )


def _count_types(rows: pa.Table) -> dict[str, int]:
    """Return the number of rows of each event type, sorted by type; empty if no row has a type."""
    counts = pl.Series(rows[EVENT_TYPE]).drop_nulls().value_counts()
    return dict(sorted((str(name), number) for name, number in counts.iter_rows()))


def _distinct(rows: pl.DataFrame, order_by: OrderBy) -> pl.DataFrame:
    """Drop rows that repeat an earlier row. Equal rows without time and position are numbered in ``occurrence``."""
    timed = pl.col(EVENT_TIME).is_not_null()
    positioned = pl.col(SOURCE_POSITION).is_not_null()
    key = [USER_ID, ITEM_ID] if rows[EVENT_TYPE].null_count() == rows.height else [USER_ID, ITEM_ID, EVENT_TYPE]
    if order_by == "source_position":
        rows = rows.unique([*key, SOURCE_POSITION], keep="first", maintain_order=True)
    first_of_time = pl.struct(*key, EVENT_TIME).is_first_distinct()
    first_of_position = pl.struct(*key, SOURCE_POSITION).is_first_distinct()
    if rows[EVENT_TIME].null_count() == 0:
        rows = rows.unique([*key, EVENT_TIME], keep="first", maintain_order=True)
    else:
        rows = pl.concat(
            [
                rows.filter(timed).filter(first_of_time),
                rows.filter(~timed & positioned).filter(first_of_position),
                rows.filter(~timed & ~positioned),
            ]
        ).sort("arrival")
    bare = rows[EVENT_TIME].is_null() & rows[SOURCE_POSITION].is_null()
    if not bare.any():
        return rows.with_columns(pl.lit(1, pl.Int64).alias("occurrence"))
    occurrence = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(*key, EVENT_TIME, SOURCE_POSITION)
    return rows.with_columns(occurrence.alias("occurrence"))
