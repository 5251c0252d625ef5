"""Read Parquet, CSV and JSON lines files as lazy rows; CSV and JSON lines also as ``.gz``.

A row that cannot be read raises no error; its column REASON gives the reason. A file that cannot be read, or lacks a
required column, raises an InputError.
"""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.exceptions import PanicException, PolarsError

from semconv.errors import InputError, SettingsError
from semconv_warehouse.ingest import fields
from semconv_warehouse.ingest.json_values import bytes_in, json_part

# Columns that a Source adds to those of the file.
ROW, REASON, RECORD = "__row", "__reason", "__record"
_OVERFLOW = "__overflow"
_SAMPLED_LINES = 1000
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
        is_json: whether the file is JSON lines.
        left_out: columns, and parts of columns, that the record lacks because they hold bytes.
    """

    file: Input
    columns: tuple[str, ...]
    rows: pl.LazyFrame
    record: pl.Expr
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
        with reading(self.file):
            return bool(self.rows.select(_json_value(column).is_not_null().any()).collect().item())

    def raw_columns(self, found: Mapping[str, str]) -> tuple[pl.LazyFrame, dict[str, fields.RawColumn]]:
        """Return the rows with ROW, REASON, RECORD and the raw values of known columns, and a RawColumn for each.

        Args:
            found: known column NAME -> the file's column; its values are in the column ``raw_NAME``.
        """
        values = [self._value(theirs).alias(f"raw_{ours}") for ours, theirs in found.items()]
        rows = self.rows.select(ROW, REASON, self.record, *values)
        with reading(self.file):
            types = rows.collect_schema()
        return rows, {
            ours: fields.RawColumn(f"raw_{ours}", theirs, types[f"raw_{ours}"], self.file)
            for ours, theirs in found.items()
        }

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
        if source.rows.select(ROW).head(1).collect().is_empty():
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
            columns = ", ".join(source.columns) or "none"
            raise InputError(
                f"{source.file}: no column {theirs}; it has {columns}; name another column with --map {ours}=COLUMN"
            )
    return found


@contextlib.contextmanager
def reading(file: Input | str) -> Iterator[None]:
    """Turn errors while reading a damaged file into an InputError that names the file."""
    try:
        yield
    except (PolarsError, PanicException, duckdb.Error, pa.ArrowException, OSError, EOFError, UnicodeError) as error:
        raise InputError(
            f"{file}: cannot be read ({str(error).strip().partition(chr(10))[0]}); check the file"
        ) from error


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


def _refuse_types_beyond_polars(file: Path) -> None:
    """Raise InputError for a column whose type polars cannot read; for some types polars would panic."""
    with contextlib.suppress(pa.ArrowException):  # Leave a damaged file to polars, which reports it.
        schema = pq.ParquetFile(file).schema
        for column in (schema.column(number) for number in range(len(schema))):
            is_long = column.converted_type == "DECIMAL" and column.precision > _MOST_DIGITS
            if is_long or column.converted_type == "INTERVAL":
                kind = f"decimals of more than {_MOST_DIGITS} digits" if is_long else "intervals"
                raise InputError(
                    f"{file}: column {column.path} holds {kind}, which cannot be read; write the file without this column"
                )


def _csv(file: Path, separator: str) -> Source:
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
    rows = rows.filter(pl.any_horizontal(pl.col(*header).is_not_null())).with_columns(reason)
    return Source(file, header, rows, pl.struct(pl.col(*header)).alias(RECORD))


def _json_lines(file: Path) -> Source:
    lines = _lines(file)
    sample = lines.head(_SAMPLED_LINES).collect()[RECORD].to_list()
    keys: dict[str, None] = {}
    for line in sample:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            keys.update(dict.fromkeys(value))
    whole = pl.col(RECORD).str.json_path_match("$")
    reason = (
        pl.when(whole.is_null())
        .then(pl.lit("malformed JSON"))
        .when(~whole.str.starts_with("{"))
        .then(pl.lit("no JSON object"))
        .alias(REASON)
    )
    rows = lines.filter(pl.col(RECORD).str.strip_chars() != "").with_columns(reason)
    return Source(file, tuple(keys), rows, pl.col(RECORD), is_json=True)


def _lines(file: Path) -> pl.LazyFrame:
    lines = pl.scan_lines(file, name=RECORD, row_index_name=ROW, row_index_offset=1, glob=False)
    try:
        lines.select(pl.col(RECORD).str.len_bytes().sum()).collect()  # reads every line
    except PolarsError as error:
        if "utf8" not in str(error):
            raise
    else:
        return lines
    content = gzip.decompress(file.read_bytes()) if file.suffix.lower() == ".gz" else file.read_bytes()
    text = content.decode("utf-8", errors="replace").split("\n")
    return pl.DataFrame({RECORD: text}).lazy().with_row_index(ROW, offset=1)


def _json_value(key: str) -> pl.Expr:
    quote = '"' if "'" in key else "'"
    return pl.col(RECORD).str.json_path_match(f"$[{quote}{key}{quote}]")
