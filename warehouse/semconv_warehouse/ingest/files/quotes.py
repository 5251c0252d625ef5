"""Double quotes at odd positions of a CSV text, such as ``Inch 12" Single``: rewrite the rows with regular quotes.

A field is read as quoted if it begins with a double quote and a closing one is followed by a delimiter or the end of the
row. Any other double quote is a sign of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

_MOST_LINES: Final = 1000  # of one quoted field
_UNIT = b"\x1f"  # the unit separator of ASCII, which takes the place of a delimiter of several signs


class Requoted:
    """The rows of a CSV text with quotes that every reader of CSV understands.

    Attributes:
        delimiter: what separates the fields of the rewritten rows: one byte.
        num_strays: number of fields, so far, with a double quote that is a sign of the text.
    """

    def __init__(self, delimiter: bytes) -> None:
        self._theirs = delimiter
        self.delimiter = delimiter if len(delimiter) == 1 else _UNIT
        self.num_strays = 0
        end = b"(?=" + re.escape(self.delimiter) + rb"|\r?\n|\Z)"
        self._quoted = re.compile(rb'[ ]*"((?:[^"]++|"")*+)"[ ]*' + end)
        self._open = re.compile(rb'[ ]*"(?:[^"]++|"")*+\Z')
        # In a text that is separated by commas, a field with a comma is always quoted; in others it often is not.
        self._prefers_lines = self.delimiter not in (b",", b";")

    def blocks(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the rows in blocks of whole rows; the blocks that come in end at line breaks, which may be in quotes."""
        waiting: list[bytes] = []  # lines of a field that is quoted over several lines, at the start of the next block
        for block in blocks:
            done, waiting = self._rows([*waiting, *_lines(block)], is_last=False)
            yield b"".join(done)
        done, _ = self._rows(waiting, is_last=True)
        if done:
            yield b"".join(done)

    def _rows(self, lines: list[bytes], *, is_last: bool) -> tuple[list[bytes], list[bytes]]:
        """Return the rewritten rows of lines, and the lines whose row may go on in the next block."""
        done: list[bytes] = []
        number = 0
        while number < len(lines):
            line = self._with_own_delimiter(lines[number])
            if b'"' in line:
                count = self._lines_of_row(lines, number)
                if count is None and not is_last:
                    return done, lines[number:]
                line = b"".join(map(self._with_own_delimiter, lines[number : number + (count or 1)]))
                done.append(self._row(line))
                number += count or 1
            else:
                done.append(line)
                number += 1
        return done, []

    def _with_own_delimiter(self, line: bytes) -> bytes:
        return line if self._theirs == self.delimiter else line.replace(self._theirs, self.delimiter)

    def _lines_of_row(self, lines: list[bytes], number: int) -> int | None:
        """Return the number of lines of the row at a line; None if the lines end before that is known."""
        text, count, start = self._with_own_delimiter(lines[number]), 1, 0
        while (found := self._open_field(text, start)) is not None:
            start = found
            while True:
                if count == _MOST_LINES:
                    return 1
                if number + count == len(lines):
                    return None
                line = self._with_own_delimiter(lines[number + count])
                text, count = text + line, count + 1
                if b'"' in line:
                    break
            if not self._open.match(text, start) and not self._quoted.match(text, start):
                return 1  # The quote at the start is a sign of the text.
        if count > 1 and self._prefers_lines and self._are_rows(lines[number : number + count]):
            return 1
        return count

    def _open_field(self, text: bytes, at: int) -> int | None:
        """Return the start of the field that begins with a double quote which no other closes, or None."""
        while at < len(text):
            if found := self._quoted.match(text, at):
                at = found.end()
            elif self._open.match(text, at):
                return at
            else:
                at = self._end_of_field(text, at)
            at += 1
        return None

    def _are_rows(self, lines: list[bytes]) -> bool:
        """Return whether several lines have the same number of delimiters, so that each may be a row."""
        numbers = {self._with_own_delimiter(line).count(self.delimiter) for line in lines}
        return len(numbers) == 1 and numbers != {0}

    def _row(self, text: bytes) -> bytes:
        fields, at = [], 0
        while True:
            if found := self._quoted.match(text, at):
                fields.append(b'"' + found[1] + b'"')
                at = found.end()
            else:
                end = self._end_of_field(text, at)
                fields.append(self._field(text[at:end]))
                at = end
            if text[at : at + 1] != self.delimiter:
                return self.delimiter.join(fields) + (b"\n" if at < len(text) else b"")
            at += 1

    def _field(self, field: bytes) -> bytes:
        if b'"' not in field:
            return field
        self.num_strays += 1
        return b'"' + field.replace(b'"', b'""') + b'"'

    def _end_of_field(self, text: bytes, at: int) -> int:
        """Return where a field that is not quoted ends: at a delimiter, or at the line break that ends the row."""
        end = text.find(self.delimiter, at)
        if end < 0:
            end = len(text)
            while end > at and text[end - 1 : end] in (b"\n", b"\r"):
                end -= 1
        return end


def _lines(block: bytes) -> list[bytes]:
    """Return the lines of a block with their line breaks. A carriage return alone ends no line."""
    *lines, rest = block.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])
