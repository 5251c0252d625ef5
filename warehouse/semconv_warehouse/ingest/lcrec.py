"""Read a data set in the files that LC-Rec publishes: sequences, items and codes, each as one JSON object or ``.gz``.

``semconv.stages.codes.index_file`` names the source. The three files of a data set belong together, so an item that one
of them lacks is an error and not an odd row: the files are of different versions then.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from semconv.columns import BRAND, CATEGORIES, DESCRIPTION, ITEM_ID, SOURCE_POSITION, TITLE, USER_ID
from semconv.errors import InputError
from semconv.stages.codes.code_file import MAX_LEVELS
from semconv.stages.codes.index_file import by_item, item_number, kind_of, read_index, read_map, shown
from semconv_warehouse.ingest.readers import RECORD, InMemory, reading, require_utf8

_SEQUENCES, _ITEMS, _INDEX, _PACKED = ".inter.json", ".item.json", ".index.json", ".gz"
_AGAIN: Final = "download the files of the data set again"


@dataclass(frozen=True)
class LcRecFiles:
    """The files of one data set in a folder.

    Attributes:
        sequences: maps a user to the numbers of the user's items, in their order.
        items: maps the number of an item to title, description and further values.
        index: maps the number of an item to its code tokens; None if the folder has no such file.
    """

    sequences: Path
    items: Path
    index: Path | None

    @classmethod
    def of(cls, folder: Path) -> LcRecFiles:
        """Find the files of the only data set in a folder or in its only subfolder.

        Hidden files do not count: archives made on macOS have a file ``._NAME`` beside each file.

        Raises:
            InputError: there is no data set, or several.
        """
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; name the folder of NAME{_SEQUENCES} and NAME{_ITEMS}")
        kinds = (_SEQUENCES, _ITEMS, _INDEX)
        with reading(str(folder)):
            paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
            folders = [path for path in paths if path.is_dir()]
        entries = {path.name for path in paths}
        plain = {entry.removesuffix(_PACKED) for entry in entries}
        names = {entry.removesuffix(kind) for entry in plain for kind in kinds if entry.endswith(kind)}
        if not names and len(folders) == 1:
            return cls.of(folders[0])
        if not names:
            raise InputError(
                f"{folder}: no file NAME{_SEQUENCES} and no file NAME{_ITEMS}; name the folder of these files"
            )
        if len(names) > 1:
            raise InputError(
                f"{folder}: holds several data sets ({', '.join(sorted(names))}); give each one a folder and a project of"
                " its own, because all of them number their items from 0"
            )
        sequences, items, index = (_found(folder / f"{next(iter(names))}{kind}", entries) for kind in kinds)
        require_utf8(sequences)
        for path in (sequences, items):
            if not path.is_file():
                raise InputError(f"{path}: no such file; a data set needs NAME{_SEQUENCES} and NAME{_ITEMS}")
        return cls(sequences, items, index if index.exists() else None)


def _found(path: Path, entries: Collection[str]) -> Path:
    """Return the path of a file or of the same file as ``.gz``; InputError if the folder holds both."""
    packed = path.with_name(path.name + _PACKED)
    if packed.name not in entries:
        return path
    if path.name in entries:
        raise InputError(f"{path}: the folder holds this file also as {packed.name}; remove one of them")
    return packed


@dataclass(frozen=True)
class LcRecData:
    """The rows of a data set, and what is said about it.

    Attributes:
        codes: a line about its codes.
        num_empty: number of users with an empty list.
        num_repeats: number of interactions with an item that the user has had before.
    """

    interactions: InMemory
    items: InMemory
    codes: str
    num_empty: int
    num_repeats: int


def read_lcrec(files: LcRecFiles) -> LcRecData:
    """Read and check the files of a data set.

    Raises:
        InputError: a file is no such map, a value has another kind, or one file lacks items of another.
    """
    users, numbers, positions, num_empty = _sequences(files.sequences)
    items = by_item(files.items, read_map(files.items))
    _require_all(files.items, items, set(numbers), files.sequences)
    rows = {USER_ID: users, ITEM_ID: numbers, SOURCE_POSITION: positions}
    types = {USER_ID: pl.String(), ITEM_ID: pl.String(), SOURCE_POSITION: pl.Int64()}
    return LcRecData(
        InMemory(pl.DataFrame(rows, schema=types), str(files.sequences)),
        InMemory(
            pl.DataFrame({RECORD: list(_records(files.items, items))}, schema={RECORD: pl.String()}), str(files.items)
        ),
        _codes(files, set(numbers)),
        num_empty,
        len(numbers) - len(set(zip(users, numbers, strict=True))),
    )


def _sequences(path: Path) -> tuple[list[str], list[str], list[int], int]:
    """Return user, item number and position of each interaction, and the number of users without any."""
    users: list[str] = []
    numbers: list[str] = []
    positions: list[int] = []
    num_empty = 0
    for user, values in read_map(path).items():
        if not isinstance(values, list):
            raise InputError(f"{path}: user {shown(user)} has {kind_of(values)} instead of a list of items; {_AGAIN}")
        if not user.strip():
            raise InputError(f"{path}: the name of a user is empty; {_AGAIN}")
        name = _text(user)
        num_empty += not values
        for position, value in enumerate(values):
            number = item_number(value)
            if number is None:
                raise InputError(
                    f"{path}: user {shown(user)} has {shown(value)} at position {position}, which is no item number (a whole"
                    f" number from 0); {_AGAIN}"
                )
            users.append(name)
            numbers.append(number)
            positions.append(position)
    if not users:
        raise InputError(f"{path}: no user has an item; {_AGAIN}")
    return users, numbers, positions, num_empty


def _records(path: Path, items: Mapping[str, Any]) -> Iterator[str]:
    """Yield each item as the text of a JSON object, which is then cleaned like a line of JSON lines."""
    for number, values in items.items():
        if not isinstance(values, dict):
            raise InputError(f"{path}: item {number} has {kind_of(values)} instead of an object; {_AGAIN}")
        brand = values.get(BRAND)
        if isinstance(brand, int | float) and not isinstance(brand, bool):  # a brand such as 3 or 1791
            values = {**values, BRAND: str(brand)}
        for name in (TITLE, DESCRIPTION, BRAND, CATEGORIES):
            parts = values.get(name)
            for part in parts if isinstance(parts, list) and name in (DESCRIPTION, CATEGORIES) else [parts]:
                if part is not None and not isinstance(part, str):
                    raise InputError(
                        f"{path}: item {number} has {kind_of(part)} as {name}, but a text is expected; {_AGAIN}"
                    )
        categories = values.get(CATEGORIES)
        if isinstance(categories, str):  # the files join categories with commas
            values = {**values, CATEGORIES: [part.strip() for part in categories.split(",") if part.strip()]}
        yield _text(json.dumps({**values, ITEM_ID: number}, ensure_ascii=False))


def _text(text: str) -> str:
    """Return a text with U+FFFD in place of halves of surrogate pairs, which UTF-8 cannot hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _codes(files: LcRecFiles, taken: Collection[str]) -> str:
    """Check the codes and return a line that says how to load them.

    Args:
        taken: items in the sequences; the other items of the catalogue may lack codes.
    """
    if files.index is None:
        name = files.items.name.removesuffix(_PACKED).removesuffix(_ITEMS) + _INDEX
        return f"codes: none, because the folder has no {name}; `semconv codebook fit` fits codes"
    codes = read_index(files.index, MAX_LEVELS)
    _require_all(files.index, codes, taken, files.sequences)
    levels = len(next(iter(codes.values())))
    return f"codes: {len(codes):,} items with {levels} codes each; load them with `semconv codebook load {shlex.quote(str(files.index))}`"


def _require_all(path: Path, has: Collection[str], wanted: Collection[str], of: Path) -> None:
    """Raise InputError if a file lacks items of another file."""
    missing = sorted(set(wanted) - set(has), key=int)
    if missing:
        what = "codes" if _INDEX in path.name else "text"
        without = f", or remove {path.name} to do without its codes" if what == "codes" else ""
        raise InputError(
            f"{path}: has no {what} for {len(missing):,} items of {of.name}, the first is item {missing[0]}; {_AGAIN}{without}"
        )
