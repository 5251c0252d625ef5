"""Read text files, plain or compressed with gzip, in bounded memory: check the size of rows, and decode lines.

A small compressed file can hold gigabytes of text, so no function here holds more than one row and one block of text.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from semconv.errors import InputError

LONGEST_ROW: Final = 64 << 20  # bytes of one row of a text file
_BLOCK = 4 << 20  # bytes
_GZIP = b"\x1f\x8b"
# The first bytes of compressed files that polars would decompress too, but whose rows cannot be checked here.
_OTHER_COMPRESSION = (b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda")


class _Bytes(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...


def check_rows(file: Path, *, quoted: bool) -> bool:
    """Read a text file once, and return whether it is valid UTF-8.

    Args:
        quoted: a line break between double quotes belongs to the row, as in CSV.

    Raises:
        InputError: a row is longer than LONGEST_ROW, or the file is compressed with something other than gzip.
    """
    decoder, is_utf8 = codecs.getincrementaldecoder("utf-8")(), True
    rows = _RowSizes(file, quoted=quoted)
    with _opened(file) as stream:
        while block := stream.read(_BLOCK):
            rows.add(block)
            if is_utf8:
                try:
                    decoder.decode(block)
                except UnicodeDecodeError:
                    is_utf8 = False
    if is_utf8:
        with contextlib.suppress(UnicodeDecodeError):
            decoder.decode(b"", final=True)
            return True
    return False


def first_line(file: Path) -> bytes:
    """Return the first line of a text file."""
    with _opened(file) as stream:
        return stream.readline()


def decoded_lines(file: Path, row: str, text: str) -> Iterator[pl.DataFrame]:
    """Yield the lines of a text file in blocks, with U+FFFD in place of bytes that are not UTF-8.

    Args:
        row: name of the column with the number of the line, from 1.
        text: name of the column with the line.
    """
    number, rest = 1, b""
    with _opened(file) as stream:
        while block := stream.read(_BLOCK):
            complete, newline, end = block.rpartition(b"\n")
            if not newline:
                rest += block
                continue
            yield _frame(rest + complete, number, row, text)
            number += 1 + complete.count(b"\n")
            rest = end
    if rest:
        yield _frame(rest, number, row, text)


def _frame(content: bytes, number: int, row: str, text: str) -> pl.DataFrame:
    lines = content.decode("utf-8", errors="replace").split("\n")
    return pl.DataFrame({text: lines}).with_row_index(row, offset=number)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[_Bytes]:
    """Open a file for reading its text; the first bytes tell whether it is compressed, as polars decides it too."""
    with file.open("rb") as stream:
        start = stream.read(4)
        stream.seek(0)
        if start.startswith(_OTHER_COMPRESSION):
            raise InputError(f"{file}: compressed, but not with gzip; decompress it, or compress it with gzip")
        if not start.startswith(_GZIP):
            yield stream
            return
        with gzip.GzipFile(fileobj=stream) as text:
            yield text


class _RowSizes:
    """The size of the row that is being read, over the blocks of a file."""

    def __init__(self, file: Path, *, quoted: bool) -> None:
        self._file, self._quoted = file, quoted
        self._rows, self._size, self._is_inside = 0, 0, False  # inside: between two double quotes

    def add(self, block: bytes) -> None:
        """Add the next block; InputError if a row has become too long. A block is shorter than the longest row."""
        first, last, count = self._breaks(block)
        if self._size + (len(block) if first < 0 else first) > LONGEST_ROW:
            quotes = "; a double quote may be missing" if self._quoted else ""
            raise InputError(
                f"{self._file}: row {self._rows + 1} is longer than {LONGEST_ROW >> 20} MiB{quotes}; check how it was written"
            )
        self._rows += count
        self._size = self._size + len(block) if last < 0 else len(block) - last - 1

    def _breaks(self, block: bytes) -> tuple[int, int, int]:
        """Return the positions of the first and the last line break that ends a row, or -1, and their number."""
        if not self._quoted or b'"' not in block:
            if self._is_inside:
                return -1, -1, 0
            return block.find(b"\n"), block.rfind(b"\n"), block.count(b"\n")
        first, last, count, start = -1, -1, 0, 0
        for part in block.split(b'"'):
            if not self._is_inside and (found := part.count(b"\n")):
                first = start + part.find(b"\n") if first < 0 else first
                last, count = start + part.rfind(b"\n"), count + found
            start += len(part) + 1
            self._is_inside = not self._is_inside
        self._is_inside = not self._is_inside  # there is one quote fewer than parts
        return first, last, count
