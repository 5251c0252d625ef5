"""Ingest of interactions: read and clean files, then merge the rows into the warehouse in one transaction.

The cleaned rows of a large log do not fit into memory. They go to a temporary file batch by batch, and DuckDB merges them
with a limit on its memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
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
from semconv_warehouse.ingest.report import IngestReport, Rejected, nothing_usable, rejected_file, shown_columns
from semconv_warehouse.ingest.spool import spool_folder, write_rows
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
    EVENT_TYPE: fields.id_text,
}
_OPTIONAL: Final[Mapping[str, pl.DataType]] = {
    EVENT_TIME: pl.Datetime("us"),
    SOURCE_POSITION: pl.Int64(),
    RATING: pl.Float64(),
    QUERY: pl.String(),
    EVENT_TYPE: pl.String(),
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
    """Cleaned rows of files, in the order of the files.

    Attributes:
        rows: a Parquet file with the columns KNOWN, and ``arrival``, the row's number over all files. It is deleted with
            its folder.
        num_rows: number of its rows.
        order_by: the column, or the order of the file, by which each user's sequence is ordered.
        files: names of the files, for reports.
        rejected: reason -> number of rows that cannot be used.
        odd: kind of an unusual value -> the number of such values.
        unused_columns: columns of the files that are not read.
        remarks: sentences about how the files were read.
        examples: reason or kind of an unusual value -> the first such value.
    """

    rows: Path
    num_rows: int
    order_by: OrderBy
    files: tuple[str, ...]
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

    If the sequences are ordered by source_position, another time of such a row replaces the stored one.

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
    with spool_folder(store.layout.data) as folder:
        with rejected_file(rejected, files, store.layout.data, no_formulas=no_formulas) as rows:
            cleaned = read_interactions(store, files, mapping, rows, folder, order_by_file=order_by_file)
        with store.write() as connection:
            return merge(connection, cleaned)


def read_interactions(
    store: DuckDBStore,
    files: Sequence[Input],
    mapping: Mapping[str, str],
    rejected: Rejected,
    folder: Path,
    *,
    order_by_file: bool = False,
) -> Interactions:
    """Read and clean files without keeping the warehouse open; raise the errors of :func:`ingest_interactions`.

    Args:
        folder: where the cleaned rows are written.
    """
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
    path = folder / "interactions.parquet"
    number = write_rows(_numbered(_looked_at(parts, files, odd, rejected)), path)
    if not number:
        raise nothing_usable(rejected, files, {_UNREADABLE: FORMS})
    unusable = rejected.counts - before
    unused = [name for source, found in zip(sources, columns, strict=True) for name in unused_columns(source, found)]
    for source in sources:
        odd.update(source.counts)
    return Interactions(
        rows=path,
        num_rows=number,
        order_by=order_by,
        files=tuple(map(str, files)),
        rejected=dict(unusable),
        odd=dict(odd),
        unused_columns=tuple(dict.fromkeys(unused)),
        remarks=remarks_of(sources) + ((FORMS,) if _UNREADABLE in unusable or odd[_ODD_TIME] else ()),
        examples={kind: value for kind, value in rejected.examples.items() if kind in unusable or odd[kind]},
    )


def _numbered(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield batches with ``arrival``, the row's number over all batches."""
    arrived = 0
    for batch in batches:
        yield batch.with_row_index("arrival", offset=arrived)
        arrived += batch.height


def _looked_at(
    batches: Iterator[pl.DataFrame], files: Sequence[Input], odd: Counter[str], rejected: Rejected
) -> Iterator[pl.DataFrame]:
    """Yield batches unchanged. Count the times that events of a shop do not have, and keep the first of each kind.

    Raises:
        InputError: a column has too many different values for a column of event types.
    """
    latest = utc_now().replace(tzinfo=None) + _TOLERANCE
    types: set[str | None] = set()
    for batch in batches:
        types.update(batch[EVENT_TYPE].unique())
        if len(types) > _MOST_TYPES:
            raise InputError(
                f"{', '.join(map(str, files))}: the column event_type has more than {_MOST_TYPES} different values, too many"
                " for event types; name another column with --map event_type=COLUMN"
            )
        times = batch[EVENT_TIME]
        for kind, unusual in ((_EARLY, times < _FIRST_USUAL_TIME), (_FUTURE, times > latest)):
            if number := int(unusual.sum()):
                odd[kind] += number
                rejected.examples.setdefault(kind, str(times.filter(unusual)[0]))
        yield batch


def merge(connection: sa.Connection, cleaned: Interactions) -> IngestReport:
    """Merge cleaned rows into the warehouse, in the caller's transaction."""
    merged = merge_interactions(connection, cleaned.rows, cleaned.order_by)
    odd = {**odd_interactions(connection, cleaned.rows), **cleaned.odd}
    return IngestReport(
        kind="interactions",
        files=cleaned.files,
        read=cleaned.num_rows + sum(cleaned.rejected.values()),
        added=merged.added,
        updated=merged.updated,
        duplicate=cleaned.num_rows - merged.added - merged.updated,
        rejected=cleaned.rejected,
        odd={kind: number for kind, number in odd.items() if number},
        types=merged.types,
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
    reasons = [pl.col(REASON), *(fields.id_problem(column, raw[column]) for column in REQUIRED)]
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
