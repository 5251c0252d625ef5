"""One input file: its columns, and its rows as a lazy frame."""

from __future__ import annotations

import contextlib
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa
from polars.exceptions import PanicException, PolarsError

from semconv.columns import BRAND, CATEGORIES, DESCRIPTION, QUERY, TITLE
from semconv.errors import InputError
from semconv_warehouse.ingest.files.dialect import Dialect, Input
from semconv_warehouse.ingest.values.nested import json_member, member, split_path
from semconv_warehouse.ingest.values.raw import RawColumn

# Columns that a Source adds to those of the file.
ROW, REASON, RECORD = "__row", "__reason", "__record"
MOST_COLUMNS = 5_000
# Known columns whose parts are cleaned one by one before they are joined.
_TEXTS: Final = (TITLE, DESCRIPTION, BRAND, CATEGORIES, QUERY)


@dataclass(frozen=True)
class Source:
    """One input file: its columns and, as a lazy frame, its rows.

    Attributes:
        columns: names of the columns; of JSON lines, the keys of the first lines.
        rows: ROW, which counts from 1; REASON, null for a readable row; and for JSON lines RECORD, the text of the
            line, else the file's columns.
        record: the whole row as RECORD: the text of a JSON line, else a struct of the columns without bytes.
        blocks: the rows in blocks of limited size, of a text file that polars cannot scan; ``rows`` is empty then.
        is_json: whether the file is JSON.
        left_out: columns, and parts of columns, that the record lacks because they hold bytes.
        remarks: sentences for the user about how the file was read.
        counts: kind of an unusual text -> the number of such texts, complete after the rows were read.
    """

    file: Input
    columns: tuple[str, ...]
    rows: pl.LazyFrame
    record: pl.Expr
    blocks: Callable[[], Iterator[pl.LazyFrame]] | None = None
    is_json: bool = False
    left_out: tuple[str, ...] = ()
    dialect: Dialect = field(default_factory=Dialect)
    remarks: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _found: dict[str, bool] = field(default_factory=dict)  # answers of `has` that took a scan of the file

    def parts(self, column: str) -> tuple[str, ...]:
        """Return the columns that a name stands for: one, or several joined by ``+`` (``summary+reviewText``)."""
        return (column,) if "+" not in column or self.has(column) else tuple(column.split("+"))

    def has(self, column: str) -> bool:
        """Return whether the file has a column, or a nested field; for JSON, whether any object has the key."""
        top, path = split_path(column, self.columns)
        if top in self.columns and not path:
            return True
        if not self.is_json:
            return top in self.columns and member(pl.col(top), self._type(top), path) is not None
        if column not in self._found:
            found = self._json_value(column).is_not_null().any().alias("found")
            answers = self.batches(lambda rows: rows.select(found))
            self._found[column] = any(bool(batch["found"].any()) for batch in answers)
        return self._found[column]

    def raw_columns(self, found: Mapping[str, str]) -> tuple[list[pl.Expr], dict[str, RawColumn]]:
        """Return expressions for ROW, REASON, RECORD and the raw values of known columns, and a RawColumn for each.

        Args:
            found: known column NAME -> the file's column; its values are in the column ``raw_NAME``.
        """
        values = {}
        for ours, theirs in found.items():
            parts = [self._value(part) for part in self.parts(theirs)]
            if ours not in _TEXTS and len(parts) > 1:
                parts = [pl.concat_str(parts, separator=" ", ignore_nulls=True)]
            values[ours] = [
                part.alias(f"raw_{ours}_{number}" if number else f"raw_{ours}") for number, part in enumerate(parts)
            ]
        selected = [pl.col(ROW), pl.col(REASON), self.record, *(part for parts in values.values() for part in parts)]
        with reading(self.file):
            types = self.rows.select(selected).collect_schema()

        def raw(ours: str, name: str) -> RawColumn:
            dialect = self.dialect
            return RawColumn(
                name, found[ours], types[name], self.file, self.is_json, dialect.decimal, dialect.date_format
            )  # fmt: skip

        columns = {}
        for ours, parts in values.items():
            more = tuple(raw(ours, part.meta.output_name()) for part in parts[1:])
            columns[ours] = raw(ours, f"raw_{ours}") if not more else replace(raw(ours, f"raw_{ours}"), more=more)
        return selected, columns

    def batches(self, shape: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Iterator[pl.DataFrame]:
        """Yield the rows in the shape that a function gives them, in order; only one batch is in memory at a time."""
        with reading(self.file):
            if self.blocks is None:
                yield from shape(self.rows).collect_batches(maintain_order=True, engine="streaming")
            else:
                for block in self.blocks():
                    yield shape(block).collect()

    def _value(self, column: str) -> pl.Expr:
        if self.is_json:
            return self._json_value(column)
        top, path = split_path(column, self.columns)
        found = member(pl.col(top), self._type(top), path) if path else None
        return pl.col(top) if found is None else found[0]

    def _json_value(self, column: str) -> pl.Expr:
        top, path = split_path(column, self.columns)
        quote = '"' if "'" in top else "'"
        value = pl.col(RECORD).str.json_path_match(f"$[{quote}{top}{quote}]")
        return json_member(value, path) if path else value

    def _type(self, column: str) -> pl.DataType:
        with reading(self.file):
            return self.rows.collect_schema()[column]


@contextlib.contextmanager
def reading(file: object) -> Iterator[None]:
    """Turn errors while reading a damaged file into an InputError that names the file."""
    try:
        yield
    except (
        PolarsError, PanicException, duckdb.Error, pa.ArrowException, OSError, EOFError, UnicodeError, zlib.error,
    ) as error:  # fmt: skip
        # Cut, because polars quotes the content of the file, which may be long.
        line = str(error)[:2000].strip().partition("\n")[0][:300]
        raise InputError(f"{file}: cannot be read ({line}); check the file") from error


def refuse_many_columns(file: object, number: int) -> None:
    """Raise InputError for more columns than polars reads in seconds."""
    if number > MOST_COLUMNS:
        raise InputError(
            f"{file}: {number:,} columns, but at most {MOST_COLUMNS:,} can be read; write the file with fewer columns"
        )
