"""Rows of a CSV file, with any delimiter and encoding, with or without header, and with double quotes at odd positions."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import polars as pl

from semconv.errors import InputError
from semconv_warehouse.ingest.files.dialect import Dialect, Input
from semconv_warehouse.ingest.files.names import ignored_names, names_remark, require_distinct
from semconv_warehouse.ingest.files.quotes import Requoted
from semconv_warehouse.ingest.files.source import REASON, RECORD, ROW, Source, refuse_many_columns
from semconv_warehouse.ingest.files.text_files import Text, first_text, survey

_OVERFLOW, _FILLED = "__overflow", "__filled"
_KNOWN_DELIMITERS: Final = (",", ";", "\t", "|")
_HINT: Final = re.compile(rb"sep=.\r?\n")  # a first line in which Excel names the delimiter
_STRAYS: Final = "fields with a double quote inside, read as it stands"


def csv_source(path: Path, file: Input, dialect: Dialect, usual: str) -> Source:
    """Return the rows of a CSV file.

    Args:
        usual: the delimiter of files with this suffix.

    Raises:
        InputError: the file has too many columns, two columns with the same name, a row that is too long, a double quote
            that is never closed, or bytes of another encoding than the dialect says.
    """
    delimiter, remarks = _delimiter(path, dialect, usual)
    text = survey(path, dialect.encoding, delimiter=delimiter.encode())
    rows = _Rows(text, delimiter, dialect.has_header)
    names = rows.names
    refuse_many_columns(file, len(names))
    require_distinct(file, names)
    ignored = ignored_names(names) if dialect.has_header else []
    remarks += names_remark(ignored) + ([text.encoding.remark] if text.encoding.remark else [])
    kept = [name for name in names if name not in ignored]
    record = pl.struct(pl.col(*kept)) if kept else pl.lit(None)
    columns = tuple(name for name in names if name)
    source = Source(file, columns, rows.scanned(), record.alias(RECORD), dialect=dialect, remarks=remarks)
    if rows.is_plain:
        return source
    empty = rows.frame(io.BytesIO(b""))
    return Source(file, columns, empty, source.record, lambda: rows.blocks(source), dialect=dialect, remarks=remarks, counts=source.counts)  # fmt: skip


def _delimiter(path: Path, dialect: Dialect, usual: str) -> tuple[str, list[str]]:
    """Return the delimiter that the user gave, or else the usual one; another only if the first row has no other."""
    if dialect.delimiter is not None:
        return dialect.delimiter, []
    line = first_text(path, dialect.encoding).lstrip().partition("\n")[0]
    if line.startswith("sep=") and len(line.rstrip("\r")) == len("sep=;"):
        return line[4], []
    found = [sign for sign in _KNOWN_DELIMITERS if sign in line]
    if usual in found or len(found) != 1:
        return usual, []
    shown = "tab" if found[0] == "\t" else found[0]
    return found[0], [f"the fields are separated by {shown!r}; give --delimiter if they are not"]


class _Rows:
    """The rows of a CSV text as lazy frames."""

    def __init__(self, text: Text, delimiter: str, has_header: bool) -> None:
        self._text, self._has_header = text, has_header
        self._delimiter = delimiter.encode()
        is_ambiguous = text.strays or (text.inner_breaks and delimiter in "\t|")
        self._requoted = Requoted(self._delimiter) if is_ambiguous or len(self._delimiter) > 1 else None
        if self._requoted is None and text.open_row is not None:
            raise InputError(
                f"{text.path}: row {text.open_row:,} has a double quote that is never closed, so the file may have been cut off;"
                " correct this row, or write the file again"
            )
        first = next(self._texts(), b"")
        start = _start(first)
        self.is_plain = text.encoding.is_utf8 and self._requoted is None and start == 0
        first = first[start:]
        fields = _fields(_first_row(first), self._separator)
        self.names: list[str] = (
            [one.strip() for one in fields] if has_header else [str(n + 1) for n in range(len(fields))]
        )
        # Names inside the frames: those of the file, but none is empty.
        self._inner = [name or f"__unnamed_{number}" for number, name in enumerate(self.names)]

    @property
    def _separator(self) -> str:
        return (self._requoted.delimiter if self._requoted else self._delimiter).decode()

    def scanned(self) -> pl.LazyFrame:
        """Return all rows of a plain file; no rows of another."""
        return self.frame(self._text.path) if self.is_plain else self.frame(io.BytesIO(b""))

    def blocks(self, source: Source) -> Iterator[pl.LazyFrame]:
        """Yield the rows in blocks, and count the odd quotes in the source."""
        before = 0
        is_first = True
        for text in self._texts():
            if is_first:
                text = text[_start(text) :]
                text = text[len(_first_row(text)) :] if self._has_header else text
            is_first = False
            frame = self.frame(io.BytesIO(text), start=before).collect()
            before += frame.height
            yield frame.lazy().filter(_FILLED)
        if self._requoted is not None and self._requoted.num_strays:
            source.counts[_STRAYS] = self._requoted.num_strays

    def frame(self, content: Path | IO[bytes], start: int = 0) -> pl.LazyFrame:
        """Return the rows of a file, or of a part of it without header."""
        is_file = isinstance(content, Path)
        rows = pl.scan_csv(
            content,
            separator=self._separator,
            has_header=False,
            skip_rows=int(is_file and self._has_header),
            # The last column follows those of the file. A value in it means that the row has too many fields.
            schema={**dict.fromkeys(self._inner, pl.String), _OVERFLOW: pl.String},
            missing_columns="insert",
            truncate_ragged_lines=True,
            row_index_name=ROW,
            row_index_offset=1 + start,
            raise_if_empty=False,
            glob=False,
        )
        reason = pl.when(pl.col(_OVERFLOW).is_not_null()).then(pl.lit("more fields than the header")).alias(REASON)
        # As a column first: in a filter, polars would take seconds for a hundred columns, by the square of their number.
        names = self._inner or [_OVERFLOW]  # a file without any text has no columns
        is_filled = pl.any_horizontal(pl.col(*names).is_not_null()).alias(_FILLED)
        rows = rows.with_columns(reason, is_filled)
        return rows.filter(_FILLED) if is_file else rows

    def _texts(self) -> Iterator[bytes]:
        """Yield the text in blocks of whole rows, with regular quotes."""
        if self._requoted is None:
            yield from self._text.rows(quoted=True)
            return
        self._requoted.num_strays = 0
        yield from self._requoted.blocks(self._text.rows(quoted=False))


def _start(text: bytes) -> int:
    """Return where the first row of a text begins: after empty lines, and after Excel's line with the delimiter."""
    blanks = len(text) - len(text.lstrip(b"\r\n"))
    hint = _HINT.match(text, blanks)
    return hint.end() if hint else blanks


def _first_row(text: bytes) -> bytes:
    """Return the first row of a text with regular quotes, with its line break."""
    end, quotes = 0, 0
    while True:
        at = text.find(b"\n", end)
        if at < 0:
            return text
        quotes += text.count(b'"', end, at)
        end = at + 1
        if quotes % 2 == 0:
            return text[:end]


def _fields(row: bytes, separator: str) -> Sequence[str]:
    """Return the fields of a row, empty text for an empty one."""
    if not row.strip(b"\r\n"):
        return []
    read = pl.read_csv(io.BytesIO(row), separator=separator, has_header=False, infer_schema=False)
    return [field or "" for field in read.row(0)]
