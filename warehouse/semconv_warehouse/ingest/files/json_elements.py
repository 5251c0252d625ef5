"""JSON that is not one object a line: an array of objects, objects over several lines, or an object with one array.

The text is cut into its objects without being parsed as a whole, so a file may be larger than memory.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from semconv.errors import InputError
from semconv_warehouse.ingest.files import text_files
from semconv_warehouse.ingest.files.text_files import Text
from semconv_warehouse.ingest.values.json_values import MOST_LEVELS, levels, repaired_json

# A text in double quotes, the start of a text that the block cuts, or a bracket.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{}]', re.DOTALL)
_LEVELS = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


@dataclass(frozen=True)
class Elements:
    """Where the objects of a JSON text are.

    Attributes:
        level: number of brackets around each object: 0 for a series of objects, 1 for an array, 2 for an array in an object.
        key: of the array in the object at level 2.
    """

    level: int
    key: bytes | None = None


def elements_of(text: Text, wanted: Collection[str]) -> Elements | None:
    """Return where the objects of a JSON text are; None for lines that hold one object each.

    Args:
        wanted: keys that a row needs. An object that lacks one of them and holds one array of objects is a wrapper.
    """
    lines = (line for block in text.rows(quoted=False) for line in block.split(b"\n") if line.strip())
    first, *more = list(islice(lines, 2)) or [b""]
    start = first.strip()[:1]
    value = _parsed(first)
    if start == b"[":
        return None if more and value is not None else Elements(1)
    if start != b"{" or (more and value is not None):
        return None
    if value is None:
        value = _parsed(b"".join(islice(objects(text.blocks(), Elements(0), text.path, limit=True), 1)))
        if value is None:
            return _array_of(text, wanted=())
        is_alone = len(list(islice(objects(text.blocks(), Elements(0), text.path), 2))) == 1
        wrapper = _array_of(text, wanted) if is_alone and not _has_all(value, wanted) else None
        return wrapper or Elements(0)
    return None if _has_all(value, wanted) else _array_of(text, wanted)


def objects(blocks: Iterable[bytes], where: Elements, file: Path, *, limit: bool = False) -> Iterator[bytes]:
    """Yield each object as one line of JSON; text between them that is more than a comma is yielded as it stands.

    Args:
        limit: end at an object that is too long, instead of raising.

    Raises:
        InputError: an object is longer than LONGEST_ROW.
    """
    cut = _Cut(where)
    for before, token in _tokens(blocks):
        if cut.size > text_files.LONGEST_ROW:
            if limit:
                return
            raise InputError(
                f"{file}: object {cut.number + 1} is longer than {text_files.LONGEST_ROW >> 20} MiB; check how it was written"
            )
        yield from cut.add(before, token)
    yield from cut.done()


class _Cut:
    """The objects of a JSON text, cut out token by token.

    Attributes:
        number: number of objects so far.
        size: bytes of the object that is not complete yet.
    """

    def __init__(self, where: Elements) -> None:
        self._where = where
        self._depth, self._parts = 0, list[bytes]()
        self._name: bytes | None = None  # the last text at depth 1
        self._key: bytes | None = None  # of the array at depth 1 that is open
        self.number = self.size = 0

    def add(self, before: bytes, token: bytes) -> Iterator[bytes]:
        """Add a token and the text before it, and yield the objects that are complete."""
        level, step = self._where.level, _LEVELS.get(token, 0)
        if step < 0 and self._depth == 0:
            step = 0  # a closing bracket that none opened
        if self._depth >= level and (self._where.key is None or self._key == self._where.key):
            if self._depth > level:
                self._keep(before, token)
                if self._depth + step == level:
                    yield from self.done()
            else:
                self._keep(before.strip(b" \t\r\n,"))
                if step or not token:
                    yield from self.done()
                if step >= 0:
                    self._keep(token)
        if self._depth == 1 and not step:
            self._name = token
        elif self._depth == 1 and step > 0:
            self._key = self._name if token == b"[" and before.strip() == b":" else None
        self._depth += step

    def done(self) -> Iterator[bytes]:
        """Yield what was kept, as one line."""
        if line := b"".join(self._parts).replace(b"\r", b" ").replace(b"\n", b" ").strip():
            self.number += 1
            yield line
        self._parts, self.size = [], 0

    def _keep(self, *parts: bytes) -> None:
        self._parts += parts
        self.size += sum(map(len, parts))


def _tokens(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the text before each token, and the token; at the end the rest of the text, and an empty token."""
    rest = b""
    for block in blocks:
        text, at = rest + block, 0
        for found in _TOKEN.finditer(text):
            if found[0] == b'"':
                break
            yield text[at : found.start()], found[0]
            at = found.end()
        rest = text[at:]
        if len(rest) > text_files.LONGEST_ROW:
            break
    yield rest, b""


def _array_of(text: Text, wanted: Collection[str]) -> Elements | None:
    """Return where the only array of objects in an object is; None if there is none, or more than one."""
    depth, name, key = 0, b"", b""
    found: Counter[bytes] = Counter()
    for before, token in _tokens(text.blocks()):
        step = _LEVELS.get(token, 0)
        if depth == 1 and not step:
            name = token
        elif depth == 1 and step > 0:
            key = name if token == b"[" and before.strip() == b":" else b""
        elif depth == 2 and token == b"{" and key:
            found[key] += 1
        depth += step
    keys = [key for key in found if json.loads(key) not in wanted]
    return Elements(2, keys[0]) if len(keys) == 1 and depth == 0 else None


def _has_all(value: Any, wanted: Collection[str]) -> bool:
    """Return whether an object has the columns that are wanted; of a nested field, the column in which it is."""
    if not isinstance(value, dict) or not wanted:
        return False
    keys = {key.casefold() for key in value}
    return all(keys.intersection({name.casefold(), name.partition(".")[0].casefold()}) for name in wanted)


def _parsed(line: bytes) -> Any:
    """Return a line as a value; None if it is no JSON, and an empty value if it is nested too deep to be parsed."""
    text = line.decode("utf-8", "replace")
    if levels(text) > MOST_LEVELS:
        return {}
    try:
        return json.loads(repaired_json(text))
    except ValueError:
        return None
