"""Read the header of a GGUF file: the format in which llama.cpp stores a model and its tokenizer in one file.

The package gguf reads such a header too. It trusts every length in the file: a wrong one makes it run for ever or fill
the memory. So this module walks through the header first, and refuses lengths that do not fit into the file.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from semconv.errors import InputError

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9  # kinds of values that have a length
_MOST_DIMENSIONS = 4
_FAULT: Final = "is no complete GGUF file"
_ADVICE: Final = "download or convert the model again"


@dataclass(frozen=True)
class GgufTensor:
    """A tensor of a GGUF file: its name, the number of its weights, and the id of their number format."""

    name: str
    weights: int
    number_format: int
    start: int  # of its bytes in the file


@dataclass(frozen=True)
class GgufHeader:
    """The header of a GGUF file.

    Attributes:
        values: scalars and texts by key; arrays, such as the tokens of the tokenizer, are left out.
        tensors: all tensors in the order of the file.
        size: bytes of the file.
    """

    values: dict[str, Any]
    tensors: tuple[GgufTensor, ...]
    size: int

    @property
    def architecture(self) -> str:
        """Return the name of the model's architecture; empty if the file does not say it."""
        return str(self.values.get("general.architecture", ""))


def is_gguf(path: Path) -> bool:
    """Return whether a path is a file in the GGUF format, by its first bytes, or a file whose name says so."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC or path.suffix.lower() == ".gguf"
    except OSError:  # no file, or one that may not be read
        return path.is_file() and path.suffix.lower() == ".gguf"


def read_header(path: Path) -> GgufHeader:
    """Read the header of a GGUF file.

    Raises:
        InputError: the file cannot be read, is in another format, ends too early, or its header is damaged.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                raise InputError(f"{path}: this is no GGUF file, because it does not begin with GGUF; {_ADVICE}")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content, _reported(path):
                return _Walk(content).header()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn the errors of a walk through a damaged header into an InputError of one line."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {_FAULT} (a name in its header is no text); {_ADVICE}") from error
    except (struct.error, ValueError) as error:
        raise InputError(f"{path}: {_FAULT} ({error}); {_ADVICE}") from error


class _Walk:
    """A walk through the bytes of a header, from its start."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = len(_MAGIC)

    def header(self) -> GgufHeader:
        """Read the whole header; raise ValueError where it does not fit the file."""
        version = self._scalar("I")
        if version not in _VERSIONS:
            raise ValueError(f"its version is {version}, not one of {', '.join(map(str, _VERSIONS))}")
        tensors, count = self._scalar("Q"), self._scalar("Q")
        values: dict[str, Any] = {}
        for _ in range(self._fitting(count, 12)):
            key, kind = self._text(), self._scalar("I")
            value = self._value(key, kind)
            if value is not None:
                values[key] = value
        infos = [self._tensor() for _ in range(self._fitting(tensors, 24))]
        alignment = values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"general.alignment is {alignment}")
        first = -(-self._at // alignment) * alignment
        placed = tuple(GgufTensor(name, weights, form, first + offset) for name, weights, form, offset in infos)
        return GgufHeader(values, placed, len(self._content))

    def _tensor(self) -> tuple[str, int, int, int]:
        """Return name, number of weights, number format and offset of the next tensor."""
        name, dimensions = self._text(), self._scalar("I")
        if dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"tensor {name[:80]} has {dimensions} dimensions")
        weights = 1
        for _ in range(dimensions):
            weights *= self._scalar("Q")
        return name, weights, self._scalar("I"), self._scalar("Q")

    def _value(self, key: str, kind: int) -> Any:
        """Return the next value; pass over an array and return None."""
        if kind in _SCALARS:
            return self._scalar(_SCALARS[kind])
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            raise ValueError(f"the value of {key[:80]} has the unknown kind {kind}")
        of, count = self._scalar("I"), self._scalar("Q")
        if of in _SCALARS:
            self._pass(self._fitting(count, struct.calcsize(_SCALARS[of])) * struct.calcsize(_SCALARS[of]))
        elif of == _STRING:
            for _ in range(self._fitting(count, 8)):
                self._pass(self._fitting(self._scalar("Q"), 1))
        else:
            raise ValueError(f"{key[:80]} is an array of the unknown kind {of}")
        return None

    def _scalar(self, form: str) -> Any:
        width = struct.calcsize(form)
        start = self._pass(width)
        return struct.unpack(f"<{form}", self._content[start : start + width])[0]

    def _text(self) -> str:
        length = self._fitting(self._scalar("Q"), 1)
        start = self._pass(length)
        return self._content[start : start + length].decode()

    def _fitting(self, count: int, width: int) -> int:
        """Return a number of parts of at least ``width`` bytes each, if so many fit into the rest of the file."""
        if count * width > len(self._content) - self._at:
            raise ValueError(f"it ends too early: at byte {self._at:,} more follows than the file has")
        return count

    def _pass(self, width: int) -> int:
        """Pass over some bytes, and return where they begin."""
        start = self._at
        if start + width > len(self._content):
            raise ValueError(f"it ends too early, after {len(self._content):,} bytes")
        self._at += width
        return start
