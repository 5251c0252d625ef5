"""Input files as lazy rows: Parquet, CSV and JSON lines, the latter two also as ``.gz``.

A row that cannot be read is no error: it carries a reason in the column ``reason``. A file that
cannot be read, or lacks a column, is an InputError.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import polars as pl
from polars.exceptions import PanicException, PolarsError

from semconv.errors import InputError, SettingsError
from semconv_warehouse.ingest import fields
from semconv_warehouse.store.database import quote_identifier

# Columns of ours beside a file's own.
ROW, REASON, RECORD = "__row", "__reason", "__record"
_OVERFLOW = "__overflow"
_SAMPLED_LINES = 1000
_JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
_CSV_SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Spooled:
    """A Parquet file of rows that came from somewhere else."""

    path: Path
    name: str  # what a user knows it by

    def __str__(self) -> str:
        """As reports name it."""
        return self.name


Input = Path | Spooled


@dataclass(frozen=True)
class Source:
    """One file: its columns and, lazily, its rows."""

    file: Input
    columns: tuple[str, ...]  # of JSON lines: the keys of the first lines
    rows: pl.LazyFrame  # ROW from 1, REASON or null, RECORD (JSON lines alone), and the columns (not of JSON lines)
    is_json: bool = False
    is_text: bool = False  # every value is text: csv and JSON lines

    def parts(self, column: str) -> tuple[str, ...]:
        """The file's columns that a name means: itself, or those that ``+`` joins (``summary+reviewText``)."""
        return (column,) if "+" not in column or self.has(column) else tuple(column.split("+"))

    def has(self, column: str) -> bool:
        """Whether the file has a column; of JSON lines, whether any line has the key."""
        if column in self.columns:
            return True
        if not self.is_json:
            return False
        with reading(self.file):
            return bool(self.rows.select(_json_value(column).is_not_null().any()).collect().item())

    def select(self, columns: Mapping[str, str]) -> pl.LazyFrame:
        """Rows with ROW, REASON, RECORD and the columns asked for (new name -> the file's name), as the file has them."""
        values = [self._value(theirs).alias(ours) for ours, theirs in columns.items()]
        return self.rows.select(ROW, REASON, self.record(), *values)

    def _value(self, column: str) -> pl.Expr:
        parts = [_json_value(part) if self.is_json else pl.col(part) for part in self.parts(column)]
        return parts[0] if len(parts) == 1 else pl.concat_str(parts, separator=" ", ignore_nulls=True)

    def record(self) -> pl.Expr:
        """The whole row: JSON text of JSON lines, else a struct."""
        if self.is_json:
            return pl.col(RECORD)
        return pl.struct(pl.col(*self.columns)).alias(RECORD)


def unused_columns(source: Source, found: Mapping[str, str]) -> list[str]:
    """Columns of a file that no column of ours takes."""
    used = {part for theirs in found.values() for part in source.parts(theirs)}
    return [column for column in source.columns if column not in used]


def open_source(file: Input) -> Source:
    """Look at a file by its suffix; InputError when it is missing, empty, unreadable or of no known kind."""
    if isinstance(file, Spooled):
        return replace(_parquet(file.path), file=file)
    if not file.is_file():
        if file.is_dir():
            raise InputError(f"{file}: a folder; name the files in it")
        hint = "; each pair of names needs a --map of its own" if "=" in file.name else ""
        raise InputError(f"{file}: no such file{hint}")
    if file.stat().st_size == 0:
        raise InputError(f"{file}: the file is empty")
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
                f"{file}: unknown kind of file; known are .parquet, .csv, .tsv, .jsonl and .json (lines), the last four also .gz"
            )
        if source.rows.select(ROW).head(1).collect().is_empty():
            raise InputError(f"{file}: the file has no rows")
    return source


def resolve(
    source: Source, mapping: Mapping[str, str], known: Sequence[str], required: Sequence[str]
) -> dict[str, str]:
    """Our column -> the file's, for the columns that the file has.

    Raises:
        SettingsError: the mapping names a column that is none of ours.
        InputError: a required column, or one that the mapping names, is not in the file.
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
                f"{source.file}: no column {theirs}; it has {columns}; name another one with --map {ours}=COLUMN"
            )
    return found


def rejected_rows(source: Source, rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows with ROW, REASON and RECORD as they are shown to a user: file, row, reason, record (JSON text)."""
    if source.is_json:
        record = pl.col(RECORD)
    else:
        kinds = {name: source.rows.collect_schema()[name] for name in source.columns}
        values = [fields.in_words(pl.col(RECORD).struct.field(name), kind).alias(name) for name, kind in kinds.items()]
        record = pl.struct(values).struct.json_encode()
    return rows.select(
        pl.lit(str(source.file)).alias("file"),
        pl.col(ROW).cast(pl.Int64).alias("row"),
        pl.col(REASON).alias("reason"),
        record.alias("record"),
    )


@contextmanager
def reading(file: Input | str) -> Iterator[None]:
    """Turn what a damaged file does to a reader into an InputError that names it."""
    try:
        yield
    except (PolarsError, PanicException, duckdb.Error, OSError, EOFError, UnicodeError) as error:
        raise InputError(f"{file}: cannot be read ({str(error).strip().partition(chr(10))[0]})") from error


def rest_as_json(source: Source, frame: pl.DataFrame, used: Sequence[str]) -> pl.Series:
    """What a row has beside the used columns, as JSON text; null where there is nothing."""
    rest = [column for column in source.columns if column not in used]
    if source.is_json:
        value, parameters = f"json_merge_patch({RECORD}, $without)", {"without": json.dumps(dict.fromkeys(used))}
    else:
        if not rest:
            return pl.Series(RECORD, [None] * frame.height, dtype=pl.String)
        # A merge into {} drops the members that are null.
        fields = ", ".join(f"{quote_identifier(name)} := {RECORD}.{quote_identifier(name)}" for name in rest)
        value, parameters = f"json_merge_patch('{{}}', to_json(struct_pack({fields})))", {}
    with duckdb.connect() as memory, reading(source.file):
        memory.register("records", frame.select(RECORD).with_row_index("place").to_arrow())
        sql = f"SELECT nullif(({value})::VARCHAR, '{{}}') AS {RECORD} FROM records ORDER BY place"  # noqa: S608
        result = pl.from_arrow(memory.sql(sql, params=parameters).to_arrow_table())
    return pl.DataFrame(result)[RECORD]


def _parquet(file: Path) -> Source:
    rows = pl.scan_parquet(file, row_index_name=ROW, row_index_offset=1, glob=False)
    columns = tuple(name for name in rows.collect_schema() if name != ROW)
    return Source(file, columns, rows.with_columns(pl.lit(None, pl.String).alias(REASON)))


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
        # One column more than the header has: what falls into it shows a row with too many fields.
        schema={**dict.fromkeys(header, pl.String), _OVERFLOW: pl.String},
        missing_columns="insert",
        truncate_ragged_lines=True,
        row_index_name=ROW,
        row_index_offset=1,
        glob=False,
    )
    reason = pl.when(pl.col(_OVERFLOW).is_not_null()).then(pl.lit("more fields than the header")).alias(REASON)
    rows = rows.filter(pl.any_horizontal(pl.col(*header).is_not_null())).with_columns(reason)
    return Source(file, header, rows, is_text=True)


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
    return Source(file, tuple(keys), rows, is_json=True, is_text=True)


def _lines(file: Path) -> pl.LazyFrame:
    lines = pl.scan_lines(file, name=RECORD, row_index_name=ROW, row_index_offset=1, glob=False)
    try:
        lines.select(pl.col(RECORD).str.len_bytes().sum()).collect()  # looks at every line
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
