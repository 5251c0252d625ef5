"""Open input files as rows: Parquet, CSV and JSON, plain or, for text, as ``.gz``.

A row that cannot be read raises no error; its column REASON gives the reason. A file that cannot be read, or lacks a
required column, raises an InputError.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from semconv.errors import InputError, SettingsError
from semconv_warehouse.ingest.files.csv_rows import csv_source
from semconv_warehouse.ingest.files.dialect import Dialect, Formatted, InMemory, Input, Spooled
from semconv_warehouse.ingest.files.json_rows import json_source
from semconv_warehouse.ingest.files.memory_rows import memory_source
from semconv_warehouse.ingest.files.names import looks_like_values
from semconv_warehouse.ingest.files.parquet_rows import parquet_source
from semconv_warehouse.ingest.files.source import REASON, RECORD, ROW, Source, reading
from semconv_warehouse.ingest.files.text_files import EXCEL_ADVICE
from semconv_warehouse.ingest.report import shortened, shown_columns
from semconv_warehouse.ingest.values.lists import is_whole
from semconv_warehouse.ingest.values.nested import split_path
from semconv_warehouse.ingest.values.raw import RawColumn

__all__ = [
    "REASON", "RECORD", "ROW", "Dialect", "Formatted", "InMemory", "Input", "RawColumn", "Source", "Spooled", "bytes_left_out",
    "open_source", "reading", "remarks_of", "resolve", "unused_columns",
]  # fmt: skip

_JSON_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")
_CSV_SEPARATORS: Final = {".csv": ",", ".tsv": "\t"}
_EXCEL_SUFFIXES: Final = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
_TEXT_ONLY: Final = ("delimiter", "encoding", "has_header")


def unused_columns(source: Source, found: Mapping[str, str]) -> list[str]:
    """Return the columns of a file that are not read as a known column, not even in part."""
    used = {split_path(part, source.columns)[0] for theirs in found.values() for part in source.parts(theirs)}
    return [column for column in source.columns if column not in used]


def bytes_left_out(sources: Sequence[Source], columns: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Return the columns of bytes, and parts of columns, that are not read and that no JSON text can hold."""
    found = [
        name
        for source, known in zip(sources, columns, strict=True)
        for name in source.left_out
        if name not in known.values()
    ]
    return tuple(dict.fromkeys(found))


def remarks_of(sources: Sequence[Source]) -> tuple[str, ...]:
    """Return the remarks about how files were read, with the name of the file where there are several."""
    shown = [(f"{source.file}: " if len(sources) > 1 else "", source) for source in sources]
    return tuple(dict.fromkeys(name + remark for name, source in shown for remark in source.remarks))


def open_source(file: Input, wanted: Collection[str] = ()) -> Source:
    """Open a file in the format of its suffix.

    Args:
        wanted: names of columns that the file must have; they tell a row in JSON from an object that holds all rows.

    Raises:
        InputError: the file is missing, empty, unreadable, or of an unknown format.
        SettingsError: the dialect says something that the format does not have.
    """
    if isinstance(file, Spooled):
        return parquet_source(file.path, file, file.dialect)
    if isinstance(file, InMemory):
        return memory_source(file)
    path, dialect = (file.path, file.dialect) if isinstance(file, Formatted) else (file, Dialect())
    _require_file(path)
    with reading(path):
        source = _opened(path, dialect, wanted)
        if all(batch.is_empty() for batch in source.batches(lambda rows: rows.select(ROW).head(1))):
            raise InputError(f"{path}: the file has no rows; check how it was written")
    return source


def _opened(path: Path, dialect: Dialect, wanted: Collection[str]) -> Source:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else suffixes[-1] if suffixes else ""
    if kind in _EXCEL_SUFFIXES:
        raise InputError(f"{path}: {EXCEL_ADVICE}")
    if kind == ".parquet":
        _refuse_options(path, dialect.given(*_TEXT_ONLY), "Parquet")
        return parquet_source(path, path, dialect)
    if kind in _JSON_SUFFIXES:
        _refuse_options(path, dialect.given("delimiter", "has_header"), "JSON")
        return json_source(path, path, dialect, wanted)
    if kind in _CSV_SEPARATORS or dialect.delimiter is not None:
        return csv_source(path, path, dialect, _CSV_SEPARATORS.get(kind, ","))
    raise InputError(
        f"{path}: unknown kind of file; known are .parquet, .csv, .tsv, .jsonl and .json, all but .parquet also as .gz; for"
        " another text file with delimiters give --delimiter"
    )


def _refuse_options(path: Path, options: Sequence[str], kind: str) -> None:
    if options:
        raise SettingsError(f"{path}: {' and '.join(options)} cannot be used, because the file is {kind}; leave it out")


def _require_file(file: Path) -> None:
    require_utf8(file)
    if not file.is_file():
        if file.is_dir():
            raise InputError(f"{file}: is a folder; name the files in it")
        advice = "each pair of names needs a --map of its own" if "=" in file.name else "check the path"
        raise InputError(f"{file}: no such file; {advice}")
    if file.stat().st_size == 0:
        raise InputError(f"{file}: the file is empty; check how it was written")


def resolve(
    source: Source, mapping: Mapping[str, str], known: Sequence[str], required: Sequence[str]
) -> dict[str, str]:
    """Return the names in the file of the known columns that the file has.

    A column whose name differs in upper and lower case alone is taken if it is the only one.

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
        elif similar := _in_other_case(source, theirs):
            found[ours] = similar
            source.remarks.append(f"{ours} is read from the column {similar}")
        elif ours in mapping or ours in required:
            raise InputError(f"{source.file}: no column {shortened(theirs)}; {_has_instead(source, ours)}")
    return found


def _in_other_case(source: Source, name: str) -> str | None:
    similar = [column for column in source.columns if column.casefold() == name.casefold()]
    return similar[0] if len(similar) == 1 else None


def _has_instead(source: Source, ours: str) -> str:
    shown = f"it has {shown_columns(source.columns)}"
    if source.is_json and not source.columns:
        return 'its rows are no JSON objects with keys; write an object for each row, such as {"item_id": "a"}'
    if not source.dialect.has_header:
        return f"{shown}, because it is read without header; name a position with --map {ours}=1"
    if not source.is_json and looks_like_values(source.columns):
        return f"{shown}, so it seems to have no header; give --no-header and name columns by their position, such as --map {ours}=1"
    return f"{shown}; name another column with --map {ours}=COLUMN"


def require_utf8(path: Path) -> None:
    """Raise InputError if the bytes of a path are not UTF-8, which polars needs."""
    if not is_whole(str(path)):
        raise InputError(f"{path}: the path holds bytes that are not UTF-8; rename the file or its folder")
