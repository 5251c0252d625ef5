"""The encoding of a text: found in its bytes, never guessed in silence, and decoded so that different bytes differ.

A text with a byte order mark says its encoding. A text that is valid UTF-8 is read as UTF-8. Any other text is read as
Windows-1252, the superset of Latin-1 that Western programs write, or as UTF-8 where most of its letters are UTF-8.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from semconv.errors import InputError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WITH_MARK: Final = {"utf-16": ("utf-16-le", "utf-16-be"), "utf-32": ("utf-32-le", "utf-32-be")}
_ONE_BYTE = "semconv_one_byte"  # name of the error handler below
_JUDGED = 64 << 20  # bytes of text that decide between UTF-8 and Windows-1252


@dataclass(frozen=True)
class Encoding:
    """How the bytes of a file become text.

    Attributes:
        name: Python's name.
        mark: number of bytes of the byte order mark, which is no part of the text.
        is_found: whether the bytes showed the encoding, so that the user should be told.
        is_mixed: whether bytes that are not UTF-8 stand in a text of UTF-8; they are read as Windows-1252.
    """

    name: str = "utf-8"
    mark: int = 0
    is_found: bool = False
    is_mixed: bool = False

    @property
    def is_utf8(self) -> bool:
        """Whether the bytes of the file are UTF-8 as they stand."""
        return self.name == "utf-8" and not self.is_mixed

    @property
    def remark(self) -> str | None:
        """A sentence about an encoding that was found, None for UTF-8."""
        if not self.is_found:
            return None
        if self.is_mixed:
            return "the text is UTF-8 with some bytes of another encoding, which are read as cp1252 (Windows-1252)"
        return f"the text is not UTF-8 and is read as {self.name}; give --encoding if letters look wrong"


def encoding_of_start(start: bytes, given: str | None) -> Encoding | None:
    """Return the encoding that the user gave or that the first bytes of a text show; None if they show none."""
    marked = next(((mark, name) for mark, name in _MARKS if start.startswith(mark)), None)
    if given is not None:
        skipped = len(marked[0]) if marked and marked[1] in (given, *_WITH_MARK.get(given, ())) else 0
        if given in _WITH_MARK:
            given = marked[1] if skipped and marked else _WITH_MARK[given][0]
        return Encoding(
            "utf-8" if given == "utf-8-sig" else given, skipped or 3 * (given == "utf-8-sig" and marked is not None)
        )
    if marked is not None:
        return Encoding(marked[1], len(marked[0]), is_found=marked[1] != "utf-8")
    if name := _wide(start):
        return Encoding(name, is_found=True)
    return None


def encoding_of_bytes(blocks: Iterable[bytes]) -> Encoding:
    """Return the encoding of a text that is not UTF-8 and shows none at its start."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    good = bad = read = 0
    for block in blocks:
        text = decoder.decode(block)
        lost = text.count("\N{REPLACEMENT CHARACTER}")
        bad += lost
        good += len(text) - lost - len(text.encode("ascii", "ignore"))
        read += len(block)
        if read > _JUDGED:
            break
    if good > bad:
        return Encoding(is_found=True, is_mixed=True)
    return Encoding("cp1252", is_found=True)


def text_of(content: bytes, file: object) -> str:
    """Return the whole text of a small file in the encoding that its bytes show, without byte order mark."""
    encoding = encoding_of_start(content, None)
    if encoding is None or encoding.is_utf8:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            encoding = encoding_of_bytes([content])
    return b"".join(decoded([content[encoding.mark :]], encoding, file)).decode()


def decoded(blocks: Iterable[bytes], encoding: Encoding, file: object) -> Iterator[bytes]:
    """Yield a text in UTF-8; InputError if bytes do not belong to an encoding that the user gave."""
    errors = _ONE_BYTE if encoding.is_found and encoding.name in ("utf-8", "cp1252") else "strict"
    decoder = codecs.getincrementaldecoder(encoding.name)(errors)
    row = 1
    try:
        for block in blocks:
            text = decoder.decode(block).encode()
            row += text.count(b"\n")
            if text:
                yield text
        if text := decoder.decode(b"", final=True).encode():
            yield text
    except UnicodeError as error:
        raise InputError(
            f"{file}: not {encoding.name} near line {row}; give the encoding of the file with --encoding"
        ) from error


def _wide(start: bytes) -> str | None:
    """Return UTF-16 for a text without mark in which every second byte is zero, as those of Western letters are."""
    even, odd = start[0::2], start[1::2]
    if len(start) >= 4 and even.count(0) == 0 and odd.count(0) * 2 > len(odd):
        return "utf-16-le"
    if len(start) >= 4 and odd.count(0) == 0 and even.count(0) * 2 > len(even):
        return "utf-16-be"
    return None


def _one_byte(error: UnicodeError) -> tuple[str, int]:
    """Decode bytes that are not UTF-8 as Windows-1252, and bytes that are neither as control characters."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    shown = [_letter(byte) for byte in error.object[error.start : error.end]]
    return "".join(shown), error.end


def _letter(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


codecs.register_error(_ONE_BYTE, _one_byte)
