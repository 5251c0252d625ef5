"""Read the files of LC-Rec: JSON maps from numbers of users and items, among them the codes of items.

Zheng et al., "Adapting Large Language Models by Integrating Collaborative Semantics for Recommendation" (ICDE 2024)
publish a data set as three files. ``NAME.index.json`` maps the number of an item to code tokens such as ``<a_12>``, one
for each level.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from semconv.columns import LEVEL_LETTERS, code_token
from semconv.errors import InputError

SUFFIXES: Final = (".json", ".json.gz")
LARGEST_CODE: Final = 65_535
_TOKEN: Final = re.compile(r"<([a-z])_([0-9]{1,9})>")
_SHOWN: Final = 40  # characters of a value in a message
_AGAIN: Final = "download the file again"


def read_map(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file, plain or ``.gz``. A file of 100 MB needs about a gigabyte of memory.

    Raises:
        InputError: the file is missing, no valid JSON or no object, or a key occurs twice.
    """
    try:
        packed = path.read_bytes()
        content = json.loads(gzip.decompress(packed) if path.suffix == ".gz" else packed, object_pairs_hook=_unique)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the path") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: no whole gzip file ({error}), so it may be cut; {_AGAIN}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    except _TwiceError as error:
        raise InputError(f"{path}: the key {shown(error.args[0])} occurs twice; {_AGAIN}") from error
    except RecursionError as error:
        raise InputError(f"{path}: lists or objects are nested too deep; {_AGAIN}") from error
    except ValueError as error:  # also of bytes that are not UTF-8
        raise InputError(f"{path}: no valid JSON ({error}), so it may be cut; {_AGAIN}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {kind_of(content)} instead of an object (a map in braces); {_AGAIN}")
    if not content:
        raise InputError(f"{path}: holds an empty object; {_AGAIN}")
    return content


def item_number(value: Any) -> str | None:
    """Return the number of an item as text without leading zeros; None if the value is no whole number from 0."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value >= 0 else None
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,18}", value.strip()):
        return None
    return str(int(value))


def by_item(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a map by item number; InputError if a key is no item number, or two keys are one number."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        number = item_number(key)
        if number is None:
            raise InputError(f"{path}: the key {shown(key)} is no item number (a whole number from 0); {_AGAIN}")
        if number in found:
            raise InputError(f"{path}: item {number} occurs twice; {_AGAIN}")
        found[number] = value
    return found


def read_index(path: Path, most_levels: int) -> dict[str, list[int]]:
    """Read the codes of a file ``*.index.json``, by item number; every item has the same number of codes.

    Raises:
        InputError: ``read_map`` refuses the file, or an item has no codes, an unknown token, a code above
            ``LARGEST_CODE``, or more or fewer codes than the first item.
    """
    codes: dict[str, list[int]] = {}
    for item, tokens in by_item(path, read_map(path)).items():
        codes[item] = _codes(path, item, tokens, most_levels)
    first, width = next((item, len(mine)) for item, mine in codes.items())
    for item, mine in codes.items():
        if len(mine) != width:
            raise InputError(
                f"{path}: item {first} has {width} codes, but item {item} has {len(mine)}; every item needs the same"
                f" number of codes; {_AGAIN}"
            )
    return codes


def _codes(path: Path, item: str, tokens: Any, most_levels: int) -> list[int]:
    if not isinstance(tokens, list):
        raise InputError(f"{path}: item {item} has {kind_of(tokens)} instead of a list of code tokens; {_AGAIN}")
    if not 1 <= len(tokens) <= most_levels:
        raise InputError(f"{path}: item {item} has {len(tokens)} codes; each item needs between 1 and {most_levels}")
    numbers: list[int] = []
    for letter, token in zip(LEVEL_LETTERS, tokens, strict=False):
        match = _TOKEN.fullmatch(token) if isinstance(token, str) else None
        if match is None or match.group(1) != letter:
            wanted = code_token(len(numbers), 12)
            raise InputError(
                f"{path}: item {item} has {shown(token)} as its code of level {len(numbers) + 1}, but a token such as {wanted} is"
                f" expected there; {_AGAIN}"
            )
        if int(match.group(2)) > LARGEST_CODE:
            raise InputError(
                f"{path}: item {item} has {shown(token)} as its code of level {len(numbers) + 1}, but codes must lie between 0 and"
                f" {LARGEST_CODE}; {_AGAIN}"
            )
        numbers.append(int(match.group(2)))
    return numbers


def kind_of(value: Any) -> str:
    """Return the kind of a JSON value for a message."""
    kinds: Sequence[tuple[type, str]] = (
        (dict, "an object"), (list, "a list"), (str, "a text"), (bool, "true or false"), (int, "a number"),
        (float, "a number"),
    )  # fmt: skip
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def shown(value: Any) -> str:
    """Return a JSON value for a message, in one line and cut if it is long."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


class _TwiceError(Exception):
    """A key that occurs twice in one object."""


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _TwiceError(key)
        result[key] = value
    return result
