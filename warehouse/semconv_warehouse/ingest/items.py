"""Ingest of item metadata: read and clean files, then merge the rows into the warehouse in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import sqlalchemy as sa

from semconv.columns import ATTRIBUTES, BRAND, CATEGORIES, DESCRIPTION, ITEM_ID, TITLE
from semconv.errors import InputError
from semconv_warehouse.gates.gate import Guard
from semconv_warehouse.gates.snapshot import require_snapshot
from semconv_warehouse.ingest import fields
from semconv_warehouse.ingest.merge_items import merge_items
from semconv_warehouse.ingest.readers import (
    REASON,
    RECORD,
    ROW,
    Input,
    Source,
    bytes_left_out,
    open_source,
    remarks_of,
    resolve,
)
from semconv_warehouse.ingest.records import latest_values, rest_as_json, usable_rows
from semconv_warehouse.ingest.report import IngestReport, Rejected, joined, rejected_file
from semconv_warehouse.ingest.values.looks import columns_of
from semconv_warehouse.store.duckdb_store import DuckDBStore

_MOST_IDS: Final = 1_000_000  # ids of unusable rows that are kept in memory
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
        rejected: reason -> number of rows that cannot be used.
        columns: the known columns that at least one file has.
        left_out: columns of bytes, which cannot be stored as attributes.
        remarks: sentences about how the files were read.
        odd: kind of an unusual value -> the number of such values.
        unusable_ids: ids of the rows that cannot be used, where they can be read.
        num_unknown: number of rows that cannot be used and whose id cannot be read.
    """

    rows: pl.DataFrame
    files: tuple[str, ...]
    read: int
    duplicate: int
    rejected: Mapping[str, int]
    columns: frozenset[str]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...] = ()
    odd: Mapping[str, int] = field(default_factory=dict)
    unusable_ids: frozenset[str] = frozenset()
    num_unknown: int = 0

    @property
    def present(self) -> pa.Table:
        """The column ``item_id`` of all items that the files name, with those of rows that cannot be used."""
        ids = pl.concat([self.rows[ITEM_ID], pl.Series(ITEM_ID, sorted(self.unusable_ids), pl.String)])
        return ids.to_frame().to_arrow()


def ingest_items(
    store: DuckDBStore,
    files: Sequence[Input],
    mapping: Mapping[str, str],
    *,
    snapshot: Guard | bool = False,
    rejected: Path | None = None,
    no_formulas: bool = False,
) -> IngestReport:
    """Add or update items from Parquet, CSV or JSON lines files. Unknown columns are stored in ``attributes``.

    A missing value does not change the stored value, unless the files are a snapshot of the whole catalogue.

    Args:
        mapping: known column -> name in the files, where the two differ.
        snapshot: the files are the whole catalogue; mark all other items as removed. A guard limits their share.
        rejected: file to write rejected rows to, with their reasons.
        no_formulas: put an apostrophe before each text of ``rejected`` that a spreadsheet would compute as a formula.

    Raises:
        InputError: a file or column is missing or unusable. The warehouse is unchanged then.
        GateFailedError: the snapshot would remove more items than the guard allows. The warehouse is unchanged then.
    """
    with rejected_file(rejected, files, store.layout.data, no_formulas=no_formulas) as rows:
        cleaned = read_items(files, mapping, rows)
    with store.write() as connection:
        is_forced = isinstance(snapshot, Guard) and snapshot.is_forced
        if snapshot and cleaned.num_unknown and not is_forced:
            remark = (
                f"no item was marked as removed, because rejected rows without a readable id ({cleaned.num_unknown:,}) could be of any item;"
                " mend them, or remove the items that the other rows lack with --force"
            )
            return merge(connection, replace(cleaned, remarks=(*cleaned.remarks, remark)), snapshot=True)
        if isinstance(snapshot, Guard):
            require_snapshot(connection, cleaned.present, snapshot)
        return merge(connection, cleaned, snapshot=bool(snapshot), present=cleaned.present if snapshot else None)


def read_items(files: Sequence[Input], mapping: Mapping[str, str], rejected: Rejected) -> Items:
    """Read and clean files without opening the warehouse; raise the errors of :func:`ingest_items`."""
    if not files:
        raise InputError("no file to read items from; name at least one")
    sources = [open_source(file, [mapping.get(ITEM_ID, ITEM_ID)]) for file in files]
    columns = [resolve(source, mapping, KNOWN, (ITEM_ID,)) for source in sources]
    before, odd, unusable = rejected.counts.copy(), Counter[str](), _Unusable()
    parts = (
        rows
        for source, found in zip(sources, columns, strict=True)
        for rows in _cleaned(source, found, rejected, odd, unusable)
    )
    rows = joined(parts, rejected, files)
    reasons = rejected.counts - before
    distinct = latest_values(rows, ITEM_ID)
    return Items(
        rows=distinct,
        files=tuple(map(str, files)),
        read=rows.height + reasons.total(),
        duplicate=rows.height - distinct.height,
        rejected=dict(reasons),
        columns=frozenset(ours for found in columns for ours in found),
        left_out=bytes_left_out(sources, columns),
        remarks=remarks_of(sources),
        odd=dict(sum((source.counts for source in sources), odd)),
        unusable_ids=frozenset(unusable.ids),
        num_unknown=unusable.num_unknown,
    )


@dataclass
class _Unusable:
    """Whose rows cannot be used: their ids, or the number of rows whose id cannot be read or is one too many."""

    ids: set[str] = field(default_factory=set)
    num_unknown: int = 0

    def add(self, ids: pl.Series) -> None:
        """Add the ids of a batch, null where an id cannot be read."""
        known = ids.drop_nulls()
        has_room = len(self.ids) + len(known) <= _MOST_IDS
        self.ids.update(known.to_list() if has_room else [])
        self.num_unknown += ids.null_count() + (0 if has_room else len(known))


def merge(
    connection: sa.Connection, cleaned: Items, *, snapshot: bool = False, present: pa.Table | None = None
) -> IngestReport:
    """Merge cleaned items into the warehouse, in the caller's transaction; ``merge_items`` describes the arguments."""
    counts = merge_items(connection, cleaned.rows.to_arrow(), cleaned.columns, snapshot=snapshot, present=present)
    without_text = cleaned.rows.filter(pl.col(TITLE).is_null() & pl.col(DESCRIPTION).is_null()).height
    return IngestReport(
        kind="items",
        files=cleaned.files,
        read=cleaned.read,
        added=counts.added,
        updated=counts.updated,
        duplicate=cleaned.duplicate + cleaned.rows.height - counts.added - counts.updated,
        rejected=cleaned.rejected,
        odd={**({"items without text": without_text} if without_text else {}), **cleaned.odd},
        removed=counts.removed,
        restored=counts.restored,
        left_out=cleaned.left_out,
        remarks=cleaned.remarks,
    )


def _cleaned(
    source: Source, found: Mapping[str, str], rejected: Rejected, odd: Counter[str], unusable: _Unusable
) -> Iterator[pl.DataFrame]:
    """Yield the usable rows of one file with known columns and attributes in batches; hand the others to ``rejected``.

    Values that are lost are counted in ``odd``.
    """
    selected, raw = columns_of(source, found)
    values = {ours: pl.lit(None, dtype) for ours, dtype in _TYPES.items()}
    values |= {ours: _value(ours, column) for ours, column in raw.items()}
    used = [part for theirs in found.values() for part in source.parts(theirs)]  # of a nested field, the rest is kept
    reason = pl.coalesce(REASON, *_deep_lists(raw), fields.id_problem(ITEM_ID, raw[ITEM_ID])).alias(REASON)
    lost = {
        f"values of {name} that hold objects or bytes, left out": _is_lost(name, raw[name])
        for name in raw
        if name != ITEM_ID
    }

    def shape(rows: pl.LazyFrame) -> pl.LazyFrame:
        shaped = rows.select(selected).with_columns(values[ours].alias(ours) for ours in KNOWN)
        return shaped.select(ROW, RECORD, *KNOWN, reason, *(is_lost.alias(kind) for kind, is_lost in lost.items()))

    for batch in source.batches(shape):
        unusable.add(batch.filter(pl.col(REASON).is_not_null())[ITEM_ID])
        usable = usable_rows(source, batch, rejected)
        odd.update({kind: int(usable[kind].sum()) for kind in lost})
        yield usable.select(*KNOWN, rest_as_json(source, usable, used).alias(ATTRIBUTES))


def _is_lost(ours: str, raw: fields.RawColumn) -> pl.Expr:
    """Return whether each value holds something, and nothing of it can be read as text."""
    value = pl.col(raw.name)
    if isinstance(raw.dtype, pl.Binary):
        return value.is_not_null() & pl.col(ours).is_null()
    if not raw.is_text:
        return pl.lit(False)
    return pl.col(ours).is_null() & value.cast(pl.String).str.contains(r"^\s*[\[{].*\w").fill_null(value=False)


def _deep_lists(raw: Mapping[str, fields.RawColumn]) -> list[pl.Expr]:
    """Return the reason for each column whose texts may be lists, null where they are not nested too deep."""
    columns = [
        name for name in KNOWN if name in raw and (name == CATEGORIES or (raw[name].is_json and name != ITEM_ID))
    ]
    return [pl.when(fields.is_deep_list(raw[name])).then(pl.lit(fields.TOO_DEEP)) for name in columns]


def _value(ours: str, raw: fields.RawColumn) -> pl.Expr:
    if ours == ITEM_ID:
        return fields.id_text(raw)
    return fields.text_list(raw) if ours == CATEGORIES else fields.text(raw)
