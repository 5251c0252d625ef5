"""Read Parquet, CSV and JSON lines files as lazy rows; CSV and JSON lines also as ``.gz``.

A row that cannot be read raises no error; its column REASON gives the reason. A file that cannot be read, or lacks a
required column, raises an InputError.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PanicException, PolarsError

from semconv.errors import InputError, SettingsError
from semconv_warehouse.ingest import fields
from semconv_warehouse.ingest.json_values import bytes_in, is_too_deep, json_part, strict_json
from semconv_warehouse.ingest.report import shortened, shown_columns
from semconv_warehouse.ingest.text_files import check_rows, decoded_lines, first_line

# Columns that a Source adds to those of the file.
ROW, REASON, RECORD = "__row", "__reason", "__record"
_OVERFLOW, _FILLED, _START = "__overflow", "__filled", "__start"
_SAMPLED_LINES, _SAMPLED_CHARACTERS = 1000, 64 << 20
_MOST_COLUMNS = 5_000
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_CSV_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_MOST_DIGITS = 38  # the most digits of a decimal in polars


@dataclass(frozen=True)
class Spooled:
    """A temporary Parquet file with the rows of another source, such as an SQL query."""

    path: Path
    name: str  # name of the source in messages and reports

    def __str__(self) -> str:
        """Return the name of the source."""
        return self.name


Input = Path | Spooled


@dataclass(frozen=True)
class Source:
    """One input file: its columns and, as a lazy frame, its rows.

    Attributes:
        columns: names of the columns; of JSON lines, the keys of the first lines.
        rows: ROW, which counts from 1; REASON, null for a readable row; and for JSON lines RECORD, the text of the
            line, else the file's columns.
        record: the whole row as RECORD: the text of a JSON line, else a struct of the columns without bytes.
        blocks: the rows in blocks of limited size, of a text file that polars cannot scan; ``rows`` is empty then.
        is_json: whether the file is JSON lines.
        left_out: columns, and parts of columns, that the record lacks because they hold bytes.
    """

    file: Input
    columns: tuple[str, ...]
    rows: pl.LazyFrame
    record: pl.Expr
    blocks: Callable[[], Iterator[pl.LazyFrame]] | None = None
    is_json: bool = False
    left_out: tuple[str, ...] = ()

    def parts(self, column: str) -> tuple[str, ...]:
        """Return the columns that a name stands for: one, or several joined by ``+`` (``summary+reviewText``)."""
        return (column,) if "+" not in column or self.has(column) else tuple(column.split("+"))

    def has(self, column: str) -> bool:
        """Return whether the file has a column; for JSON lines, whether any line has the key."""
        if column in self.columns:
            return True
        if not self.is_json:
            return False
        found = _json_value(column).is_not_null().any().alias("found")
        return any(bool(batch["found"].any()) for batch in self.batches(lambda rows: rows.select(found)))

    def raw_columns(self, found: Mapping[str, str]) -> tuple[list[pl.Expr], dict[str, fields.RawColumn]]:
        """Return expressions for ROW, REASON, RECORD and the raw values of known columns, and a RawColumn for each.

        Args:
            found: known column NAME -> the file's column; its values are in the column ``raw_NAME``.
        """
        values = [self._value(theirs).alias(f"raw_{ours}") for ours, theirs in found.items()]
        selected = [pl.col(ROW), pl.col(REASON), self.record, *values]
        with reading(self.file):
            types = self.rows.select(selected).collect_schema()
        return selected, {
            ours: fields.RawColumn(f"raw_{ours}", theirs, types[f"raw_{ours}"], self.file)
            for ours, theirs in found.items()
        }

    def batches(self, shape: Callable[[pl.LazyFrame], pl.LazyFrame]) -> Iterator[pl.DataFrame]:
        """Yield the rows in the shape that a function gives them, in order; only one batch is in memory at a time."""
        with reading(self.file):
            if self.blocks is None:
                yield from shape(self.rows).collect_batches(maintain_order=True, engine="streaming")
            else:
                for block in self.blocks():
                    yield shape(block).collect()

    def _value(self, column: str) -> pl.Expr:
        parts = [_json_value(part) if self.is_json else pl.col(part) for part in self.parts(column)]
        return parts[0] if len(parts) == 1 else pl.concat_str(parts, separator=" ", ignore_nulls=True)


def unused_columns(source: Source, found: Mapping[str, str]) -> list[str]:
    """Return the columns of a file that are not read as a known column."""
    used = {part for theirs in found.values() for part in source.parts(theirs)}
    return [column for column in source.columns if column not in used]


def open_source(file: Input) -> Source:
    """Open a file in the format of its suffix; InputError if it is missing, empty, unreadable or of another format."""
    if isinstance(file, Spooled):
        return replace(_parquet(file.path), file=file)
    if not is_utf8(file):
        raise InputError(f"{file}: the path holds bytes that are not UTF-8; rename the file or its folder")
    if not file.is_file():
        if file.is_dir():
            raise InputError(f"{file}: is a folder; name the files in it")
        advice = "each pair of names needs a --map of its own" if "=" in file.name else "check the path"
        raise InputError(f"{file}: no such file; {advice}")
    if file.stat().st_size == 0:
        raise InputError(f"{file}: the file is empty; check how it was written")
    suffixes = [suffix.lower() for suffix in file.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else suffixes[-1] if suffixes else ""
    with reading(file):
        if kind == ".parquet":
            source = _parquet(file)
        elif kind in _CSV_SEPARATORS:
            source = _csv(file, _CSV_SEPARATORS[kind])
        elif kind in _JSON_SUFFIXES:
            source = _json_lines(file)
        else:
            raise InputError(
                f"{file}: unknown kind of file; known are .parquet, .csv, .tsv, .jsonl and .json (JSON lines), all but .parquet also"
                " as .gz"
            )
        if all(batch.is_empty() for batch in source.batches(lambda rows: rows.select(ROW).head(1))):
            raise InputError(f"{file}: the file has no rows; check how it was written")
    return source


def resolve(
    source: Source, mapping: Mapping[str, str], known: Sequence[str], required: Sequence[str]
) -> dict[str, str]:
    """Return the names in the file of the known columns that the file has.

    Raises:
        SettingsError: the mapping names an unknown column.
        InputError: the file lacks a required column, or a column that the mapping names.
    """
    for ours in mapping:
        if ours not in known:
            raise SettingsError(f"--map {ours}={mapping[ours]}: unknown column {ours}; known are {', '.join(known)}")
    found = {}
    for ours in known:
        theirs = mapping.get(ours, ours)
        if all(source.has(part) for part in source.parts(theirs)):
            found[ours] = theirs
        elif ours in mapping or ours in required:
            raise InputError(
                f"{source.file}: no column {shortened(theirs)}; it has {shown_columns(source.columns)}; name another column"
                f" with --map {ours}=COLUMN"
            )
    return found


@contextlib.contextmanager
def reading(file: Input | str) -> Iterator[None]:
    """Turn errors while reading a damaged file into an InputError that names the file."""
    try:
        yield
    except (
        PolarsError, PanicException, duckdb.Error, pa.ArrowException, OSError, EOFError, UnicodeError, zlib.error,
    ) as error:  # fmt: skip
        # Cut, because polars quotes the content of the file, which may be long.
        line = str(error)[:2000].strip().partition("\n")[0][:300]
        raise InputError(f"{file}: cannot be read ({line}); check the file") from error


def _parquet(file: Path) -> Source:
    _refuse_types_beyond_polars(file)
    rows = pl.scan_parquet(file, row_index_name=ROW, row_index_offset=1, glob=False)
    extensions = [name for name, dtype in rows.collect_schema().items() if isinstance(dtype, pl.BaseExtension)]
    rows = rows.with_columns(pl.col(name).ext.storage() for name in extensions)
    types = {name: dtype for name, dtype in rows.collect_schema().items() if name != ROW}
    left_out = tuple(found for name, dtype in types.items() for found in bytes_in(name, dtype))
    parts = {name: json_part(pl.col(name), dtype) for name, dtype in types.items()}
    kept = [part.alias(name) for name, part in parts.items() if part is not None]
    record = pl.struct(kept) if kept else pl.lit(None)
    rows = rows.with_columns(pl.lit(None, pl.String).alias(REASON))
    return Source(file, tuple(types), rows, record.alias(RECORD), left_out=left_out)


def _refuse_many_columns(file: Path, number: int) -> None:
    """Raise InputError for more columns than polars reads in seconds."""
    if number > _MOST_COLUMNS:
        raise InputError(
            f"{file}: {number:,} columns, but at most {_MOST_COLUMNS:,} can be read; write the file with fewer columns"
        )


def _refuse_types_beyond_polars(file: Path) -> None:
    """Raise InputError for a column whose type polars cannot read; for some types polars would panic."""
    with contextlib.suppress(pa.ArrowException):  # Leave a damaged file to polars, which reports it.
        schema = pq.ParquetFile(file).schema
        _refuse_many_columns(file, len(schema.to_arrow_schema()))
        for column in (schema.column(number) for number in range(len(schema))):
            is_long = column.converted_type == "DECIMAL" and column.precision > _MOST_DIGITS
            if is_long or column.converted_type == "INTERVAL":
                kind = f"decimals of more than {_MOST_DIGITS} digits" if is_long else "intervals"
                raise InputError(
                    f"{file}: column {column.path} holds {kind}, which cannot be read; write the file without this column"
                )


def _csv(file: Path, separator: str) -> Source:
    check_rows(file, quoted=True)
    _refuse_many_columns(file, first_line(file).count(separator.encode()) + 1)
    header = tuple(
        pl.scan_csv(
            file, separator=separator, infer_schema=False, n_rows=0, encoding="utf8-lossy", glob=False
        ).collect_schema()
    )
    rows = pl.scan_csv(
        file,
        separator=separator,
        encoding="utf8-lossy",
        # This column follows those of the header. A value in it means that the row has too many fields.
        schema={**dict.fromkeys(header, pl.String), _OVERFLOW: pl.String},
        missing_columns="insert",
        truncate_ragged_lines=True,
        row_index_name=ROW,
        row_index_offset=1,
        glob=False,
    )
    reason = pl.when(pl.col(_OVERFLOW).is_not_null()).then(pl.lit("more fields than the header")).alias(REASON)
    # As a column first: in a filter, polars would take seconds for a hundred columns, by the square of their number.
    is_filled = pl.any_horizontal(pl.col(*header).is_not_null()).alias(_FILLED)
    rows = rows.with_columns(reason, is_filled).filter(_FILLED)
    return Source(file, header, rows, pl.struct(pl.col(*header)).alias(RECORD))


def _json_lines(file: Path) -> Source:
    lines = {ROW: pl.UInt32(), RECORD: pl.String()}
    if check_rows(file, quoted=False):
        rows = _json_rows(pl.scan_lines(file, name=RECORD, row_index_name=ROW, row_index_offset=1, glob=False))
        source = Source(file, (), rows, pl.col(RECORD), is_json=True)
    else:

        def blocks() -> Iterator[pl.LazyFrame]:
            return (_json_rows(block.lazy()) for block in decoded_lines(file, ROW, RECORD))

        source = Source(file, (), _json_rows(pl.LazyFrame(schema=lines)), pl.col(RECORD), blocks, is_json=True)
    return replace(source, columns=_sampled_keys(source))


def _json_rows(lines: pl.LazyFrame) -> pl.LazyFrame:
    # As a column, because polars would parse the text again for each use of the expression.
    start = pl.col(RECORD).str.json_path_match("$").str.slice(0, 1).alias(_START)
    reason = (
        pl.when(is_too_deep(pl.col(RECORD)))
        .then(pl.lit(fields.TOO_DEEP))
        .when(pl.col(_START).is_null())
        .then(pl.lit("malformed JSON"))
        .when(pl.col(_START) != "{")
        .then(pl.lit("no JSON object"))
        .alias(REASON)
    )
    filled = lines.filter(pl.col(RECORD).str.strip_chars() != "")
    return filled.with_columns(strict_json(pl.col(RECORD))).with_columns(start).with_columns(reason).drop(_START)


def _sampled_keys(source: Source) -> tuple[str, ...]:
    """Return the keys of the first lines, in order of appearance."""
    keys: dict[str, None] = {}
    lines = characters = 0
    for batch in source.batches(lambda rows: rows.filter(pl.col(REASON).is_null()).select(RECORD).head(_SAMPLED_LINES)):
        for line in batch[RECORD]:
            if lines == _SAMPLED_LINES or characters > _SAMPLED_CHARACTERS or len(keys) > _MOST_COLUMNS:
                return tuple(keys)
            lines, characters = lines + 1, characters + len(line)
            with contextlib.suppress(ValueError):
                keys.update(dict.fromkeys(json.loads(line)))
    return tuple(keys)


def _json_value(key: str) -> pl.Expr:
    quote = '"' if "'" in key else "'"
    return pl.col(RECORD).str.json_path_match(f"$[{quote}{key}{quote}]")


def is_utf8(path: Path) -> bool:
    """Return whether the bytes of a path are UTF-8, which polars needs."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
