"""Read text files, plain or compressed with gzip, in bounded memory: survey their rows and decode them.

A small compressed file can hold gigabytes of text, so no function here holds more than one row and one block of text.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from semconv.errors import InputError
from semconv_warehouse.store.encodings import Encoding, decoded, encoding_of_bytes, encoding_of_start

LONGEST_ROW: Final = 64 << 20  # bytes of one row of a text file
_BLOCK = 4 << 20  # bytes
_START = 1 << 16  # bytes of a file that show its encoding and its delimiter
_GZIP = b"\x1f\x8b"
# The first bytes of compressed files that polars would decompress too, but whose rows cannot be checked here.
_OTHER_COMPRESSION = (b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda")
_ZIP = b"PK\x03\x04"  # also the start of a workbook of Excel
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
EXCEL_ADVICE: Final = "Excel files are not read; save the sheet as CSV (UTF-8) and ingest that file"


class _Bytes(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Text:
    """The text of a file, in UTF-8 and without byte order mark.

    Attributes:
        strays: whether a double quote stands where the rules of CSV do not allow it.
        inner_breaks: whether a line break stands between double quotes.
        open_row: number of the row with a double quote that is never closed; None if there is none.
    """

    path: Path
    encoding: Encoding
    strays: bool = False
    inner_breaks: bool = False
    open_row: int | None = None

    def blocks(self) -> Iterator[bytes]:
        """Yield the text in blocks of limited size."""
        blocks = _raw_blocks(self.path, skip=self.encoding.mark)
        yield from blocks if self.encoding.is_utf8 else decoded(blocks, self.encoding, self.path)

    def rows(self, *, quoted: bool) -> Iterator[bytes]:
        """Yield the text in blocks that end where a row ends; with ``quoted``, line breaks in quotes end no row."""
        sizes, rest = _RowSizes(self.path, b"" if quoted else None), b""
        for block in self.blocks():
            _, last = sizes.add(block)
            if last < 0:
                rest += block
                continue
            yield rest + block[: last + 1]
            rest = block[last + 1 :]
        if rest:
            yield rest


def survey(file: Path, encoding: str | None, *, delimiter: bytes | None = None) -> Text:
    """Read a text file once or twice, find its encoding, and check the size of its rows.

    Args:
        encoding: the encoding that the user gave, or None.
        delimiter: what separates the fields of a CSV file, in which a line break between double quotes belongs to the
            row; None for lines.

    Raises:
        InputError: a row is longer than LONGEST_ROW, the file is compressed with something other than gzip, or its bytes
            do not belong to the encoding that the user gave.
    """
    found = encoding_of_start(first_bytes(file), encoding)
    if found is None or found.is_utf8:
        text = _survey_utf8(file, found or Encoding(), delimiter)
        if text is not None:
            return text
        if encoding is not None and found is not None:
            for _ in decoded(_raw_blocks(file, skip=found.mark), found, file):
                pass  # raises at the first byte that is not UTF-8
        found = encoding_of_bytes(_raw_blocks(file))
    sizes = _RowSizes(file, delimiter)
    for block in Text(file, found).blocks():
        sizes.add(block)
    return Text(file, found, sizes.strays, sizes.inner_breaks, sizes.open_row)


def _survey_utf8(file: Path, encoding: Encoding, delimiter: bytes | None) -> Text | None:
    """Survey a text that may be UTF-8; return None if it is not."""
    decoder, sizes = codecs.getincrementaldecoder("utf-8")(), _RowSizes(file, delimiter)
    try:
        for block in _raw_blocks(file, skip=encoding.mark):
            decoder.decode(block)
            sizes.add(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return None
    return Text(file, encoding, sizes.strays, sizes.inner_breaks, sizes.open_row)


def first_bytes(file: Path) -> bytes:
    """Return the first bytes of the text of a file."""
    with _opened(file) as stream:
        return stream.read(_START)


def first_text(file: Path, encoding: str | None) -> str:
    """Return the first signs of a file, to look at its delimiter; letters may be wrong in them."""
    start = first_bytes(file)
    found = encoding_of_start(start, encoding) or Encoding()
    return start[found.mark :].decode(found.name, errors="replace")


def _raw_blocks(file: Path, skip: int = 0) -> Iterator[bytes]:
    with _opened(file) as stream:
        stream.read(skip)
        while block := stream.read(_BLOCK):
            yield block


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[_Bytes]:
    """Open a file for reading its text; the first bytes tell whether it is compressed, as polars decides it too."""
    with file.open("rb") as stream:
        start = stream.read(4)
        stream.seek(0)
        if start in (_ZIP, _OLD_EXCEL):
            raise InputError(f"{file}: a ZIP archive or a workbook of Excel, not text; {EXCEL_ADVICE}")
        if start.startswith(_OTHER_COMPRESSION):
            raise InputError(f"{file}: compressed, but not with gzip; decompress it, or compress it with gzip")
        if not start.startswith(_GZIP):
            yield stream
            return
        with gzip.GzipFile(fileobj=stream) as text:
            yield text


class _RowSizes:
    """The size of the row that is being read, over the blocks of a file, and the double quotes at odd positions.

    Attributes:
        strays: whether a double quote stands inside a field that does not begin with one, or text follows a closing one.
        inner_breaks: whether a line break stands between double quotes.
    """

    def __init__(self, file: Path, delimiter: bytes | None) -> None:
        self._file, self._quoted = file, delimiter is not None
        self._ends = {b"\n", b"\r", (delimiter or b"")[:1]}  # what may follow a closing quote
        self._starts = {b"\n", b"\r", (delimiter or b"")[-1:]}  # what may come before an opening quote
        self._rows, self._size, self._is_inside = 0, 0, False  # inside: between two double quotes
        self._last, self._is_after_quote = b"\n", False  # the last byte, and whether it closed a quoted text
        self.strays = self.inner_breaks = False

    @property
    def open_row(self) -> int | None:
        """Number of the row that is being read, if it is between two double quotes."""
        return self._rows + 1 if self._is_inside else None

    def add(self, block: bytes) -> tuple[int, int]:
        """Add the next block, and return the positions of the first and the last line break that ends a row, or -1.

        Raises:
            InputError: a row has become too long. A block is shorter than the longest row.
        """
        first, last, count = self._breaks(block)
        if self._size + (len(block) if first < 0 else first) > LONGEST_ROW:
            quotes = "; a double quote may be missing" if self._quoted else ""
            raise InputError(
                f"{self._file}: row {self._rows + 1} is longer than {LONGEST_ROW >> 20} MiB{quotes}; check how it was written"
            )
        self._rows += count
        self._size = self._size + len(block) if last < 0 else len(block) - last - 1
        return first, last

    def _breaks(self, block: bytes) -> tuple[int, int, int]:
        """Return the positions of the first and the last line break that ends a row, or -1, and their number."""
        if not self._quoted or b'"' not in block:
            self._see(block, is_last=True)
            if self._is_inside:
                self.inner_breaks = self.inner_breaks or b"\n" in block
                return -1, -1, 0
            return block.find(b"\n"), block.rfind(b"\n"), block.count(b"\n")
        first, last, count, start = -1, -1, 0, 0
        parts = block.split(b'"')
        for number, part in enumerate(parts):
            found = part.count(b"\n")
            if self._is_inside:
                self.inner_breaks = self.inner_breaks or found > 0
            elif found:
                first = start + part.find(b"\n") if first < 0 else first
                last, count = start + part.rfind(b"\n"), count + found
            self._see(part, is_last=number == len(parts) - 1)
            start += len(part) + 1
        return first, last, count

    def _see(self, part: bytes, *, is_last: bool) -> None:
        """Look at the text up to the next double quote, which opens or closes a quoted text unless the block ends."""
        if not self._is_inside and part:
            if self._is_after_quote and part[:1] not in self._ends:
                self.strays = True
            self._last, self._is_after_quote = part[-1:], False
        if is_last:
            return
        # A quote right after a closing one is a doubled quote, which stands for a quote in the text.
        if not self._is_inside and not self._is_after_quote and self._last not in self._starts:
            self.strays = True
        self._is_inside = not self._is_inside
        self._is_after_quote = not self._is_inside
