"""Ingest of user profiles: read and clean files, then merge the rows into the warehouse in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import sqlalchemy as sa

from semconv.columns import ATTRIBUTES, MARKET, USER_ID
from semconv.errors import InputError
from semconv_warehouse.ingest import fields
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
from semconv_warehouse.store.database import merged_json, raw, registered
from semconv_warehouse.store.duckdb_store import DuckDBStore

KNOWN: Final = (USER_ID, MARKET)
# A missing value leaves the stored value unchanged, and so does a missing attribute, as for items.
_CHANGED = """
CREATE OR REPLACE TEMP TABLE changed_profile AS
SELECT user_id, coalesce(n.market, old.market) AS market, {attributes} AS attributes
FROM {incoming} AS n JOIN user_profile AS old USING (user_id)
WHERE (n.market IS NOT NULL AND n.market IS DISTINCT FROM old.market)
   OR {attributes} IS DISTINCT FROM old.attributes
"""
_ACCOUNTS = """
INSERT INTO user_account (user_id, user_index)
SELECT user_id, (SELECT coalesce(max(user_index), -1) FROM user_account) + row_number() OVER (ORDER BY arrival)
FROM {incoming} ANTI JOIN user_account USING (user_id)
ORDER BY arrival
"""
_NEW = """
INSERT INTO user_profile
SELECT user_id, market, attributes::JSON FROM {incoming} ANTI JOIN user_profile USING (user_id) ORDER BY arrival
"""
_UPDATE = """
UPDATE user_profile SET market = c.market, attributes = c.attributes
FROM changed_profile AS c WHERE user_profile.user_id = c.user_id
"""


def ingest_users(
    store: DuckDBStore,
    files: Sequence[Input],
    mapping: Mapping[str, str],
    *,
    rejected: Path | None = None,
    no_formulas: bool = False,
) -> IngestReport:
    """Add or update profiles of users. Unknown columns are stored in ``attributes``, and unknown users are stored too.

    Args:
        mapping: known column -> name in the files, where the two differ.
        rejected: file to write rejected rows to, with their reasons.
        no_formulas: put an apostrophe before each text of ``rejected`` that a spreadsheet would compute as a formula.

    Raises:
        InputError: a file or column is missing or unusable. The warehouse is unchanged then.
    """
    if not files:
        raise InputError("no file to read users from; name at least one")
    with rejected_file(rejected, files, store.layout.data, no_formulas=no_formulas) as collected:
        sources = [open_source(file, [mapping.get(USER_ID, USER_ID)]) for file in files]
        columns = [resolve(source, mapping, KNOWN, (USER_ID,)) for source in sources]
        parts = (
            rows for source, found in zip(sources, columns, strict=True) for rows in _cleaned(source, found, collected)
        )
        rows = joined(parts, collected, files)
    distinct = latest_values(rows, USER_ID)
    with store.write() as connection:
        added, updated, without = _merge(connection, distinct.to_arrow())
    return IngestReport(
        kind="users",
        files=tuple(map(str, files)),
        read=rows.height + collected.counts.total(),
        added=added,
        updated=updated,
        duplicate=rows.height - added - updated,
        rejected=dict(collected.counts),
        odd={"users without interactions": without} if without else {},
        left_out=bytes_left_out(sources, columns),
        remarks=remarks_of(sources),
    )


def _merge(connection: sa.Connection, rows: pa.Table) -> tuple[int, int, int]:
    """Merge cleaned profiles; return how many were added, how many changed, and how many users have no interactions."""
    inner = raw(connection)
    with registered(connection, rows) as incoming:
        inner.execute(_CHANGED.format(incoming=incoming, attributes=merged_json("old.attributes", "n.attributes")))
        updated = inner.execute("SELECT count(*) FROM changed_profile").fetchall()[0][0]
        inner.execute(_UPDATE)
        inner.execute(_ACCOUNTS.format(incoming=incoming))
        added = inner.execute(_NEW.format(incoming=incoming)).fetchall()[0][0]
        without = inner.execute(
            f"SELECT count(*) FROM {incoming} ANTI JOIN interaction USING (user_id)"  # noqa: S608
        ).fetchall()[0][0]
    return added, updated, without


def _cleaned(source: Source, found: Mapping[str, str], rejected: Rejected) -> Iterator[pl.DataFrame]:
    """Yield the usable rows of one file in batches, with the other columns as JSON; hand the rest to ``rejected``."""
    selected, raw_columns = columns_of(source, found)
    market = fields.text(raw_columns[MARKET]) if MARKET in raw_columns else pl.lit(None, pl.String())
    values = {USER_ID: fields.id_text(raw_columns[USER_ID]), MARKET: market}
    used = [part for theirs in found.values() for part in source.parts(theirs)]
    reason = pl.coalesce(REASON, fields.id_problem(USER_ID, raw_columns[USER_ID])).alias(REASON)

    def shape(rows: pl.LazyFrame) -> pl.LazyFrame:
        shaped = rows.select(selected).with_columns(values[ours].alias(ours) for ours in KNOWN)
        return shaped.select(ROW, RECORD, *KNOWN, reason)

    for batch in source.batches(shape):
        usable = usable_rows(source, batch, rejected)
        yield usable.select(*KNOWN, rest_as_json(source, usable, used).alias(ATTRIBUTES))
