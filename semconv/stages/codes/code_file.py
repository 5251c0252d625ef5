"""Read external codes from a Parquet file or from an index file of LC-Rec, for a report or for tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semconv.columns import CODES, ITEM_ID
from semconv.errors import InputError
from semconv.settings.codebook import CodebookSettings
from semconv.stages.codes.index_file import LARGEST_CODE, SUFFIXES, read_index

MAX_LEVELS = int(CodebookSettings.__dataclass_fields__["levels"].metadata["high"])
_LARGEST = LARGEST_CODE  # codes are stored as uint16


@dataclass(frozen=True)
class FileCodes:
    """The codes that a file contains for items of the catalogue; N is the number of levels."""

    item_index: NDArray[np.int32]  # (M,) ascending
    codes: NDArray[np.uint16]  # (M, N)
    num_unknown: int  # rows of the file whose item is not in the catalogue

    @property
    def num_codes(self) -> int:
        """The number of different codes for each level: the largest code in the file plus 1, but at least 2."""
        return max(2, int(self.codes.max()) + 1)


def read_codes(path: Path, item_ids: Sequence[str]) -> FileCodes:
    """Read a Parquet file of ``item_id`` and ``codes``, a list of N whole numbers for each item.

    A file whose name ends with ``.json`` or ``.json.gz`` is read as an index file of LC-Rec (``read_index``), whose item
    ids are numbers.

    Raises:
        InputError: ``read_index`` refuses the file; or the file is not a Parquet file, a column is missing or of another
            type, there are no rows, an id or a code is empty, items have different numbers of codes or too many of them,
            a code is negative or too large, an item occurs twice, or no item is in the catalogue.
    """
    table = _checked_table(path)
    width = _width(path, table)
    ids = [str(item_id) for item_id in table.column(ITEM_ID).to_pylist()]
    known = {item_id: index for index, item_id in enumerate(item_ids)}
    kept = np.array([row for row, item_id in enumerate(ids) if item_id in known], dtype=np.int64)
    if len(kept) == 0:
        raise InputError(f"{path}: contains no item of the catalogue; check that item_id matches the ingested items")
    codes = _numbers(path, table).reshape(-1, width)[kept]  # (M, N)
    index = np.array([known[ids[row]] for row in kept], dtype=np.int32)
    values, counts = np.unique(index, return_counts=True)
    if len(values) < len(index):
        example = item_ids[int(values[counts > 1][0])]
        raise InputError(
            f"{path}: {int((counts > 1).sum())} items occur more than once, the first is {example}; give each item one row"
        )
    bad = np.flatnonzero(((codes < 0) | (codes > _LARGEST)).any(axis=1))
    if len(bad):
        raise InputError(
            f"{path}: codes must lie between 0 and {_LARGEST}, but {len(bad)} items have other codes;"
            f" the first is {ids[kept[bad[0]]]} with {codes[bad[0]].tolist()}"
        )
    order = np.argsort(index)
    return FileCodes(index[order], codes[order].astype(np.uint16), len(ids) - len(kept))


def _checked_table(path: Path) -> pa.Table:
    """Read the columns of item ids and codes. Refuse wrong types, a file without rows, and empty cells."""
    if path.name.endswith(SUFFIXES):
        found = read_index(path, MAX_LEVELS)
        return pa.table({ITEM_ID: list(found), CODES: pa.array(list(found.values()), pa.list_(pa.int64()))})
    try:
        schema = pq.read_schema(path)
        _check_columns(path, schema)
        table = pq.read_table(path, columns=[ITEM_ID, CODES])
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; give a Parquet file with the columns {ITEM_ID} and {CODES}") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}); write the file again"
        ) from error
    if table.num_rows == 0:
        raise InputError(f"{path}: no rows; give a file with the codes of at least one item")
    for name in (ITEM_ID, CODES):
        if table.column(name).null_count:
            raise InputError(f"{path}: {table.column(name).null_count} rows have no {name}; remove or fill them")
    return table


def _check_columns(path: Path, schema: pa.Schema) -> None:
    missing = [name for name in (ITEM_ID, CODES) if name not in schema.names]
    if missing:
        raise InputError(f"{path}: column {', '.join(missing)} is missing; it must have {ITEM_ID} and {CODES}")
    for name, accepts, wanted in (
        (ITEM_ID, _is_id, "a string or a whole number"),
        (CODES, _is_numbers, "a list of whole numbers"),
    ):
        kind = schema.field(name).type
        if not accepts(kind):
            raise InputError(f"{path}: column {name} has the type {kind}, but must be {wanted}; convert it")


def _is_id(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)
    return bool(is_text or pa.types.is_integer(inner))


def _is_numbers(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_integer(kind.value_type))


def _width(path: Path, table: pa.Table) -> int:
    """Return the number of codes of an item; raise InputError if items have different numbers of codes."""
    widths = sorted(pc.unique(pc.list_value_length(table.column(CODES))).to_pylist())
    if len(widths) > 1:
        raise InputError(
            f"{path}: every item must have the same number of codes, but the file has items with {widths} codes"
        )
    if not 1 <= widths[0] <= MAX_LEVELS:
        raise InputError(f"{path}: each item has {widths[0]} codes; give each item between 1 and {MAX_LEVELS}")
    return int(widths[0])


def _numbers(path: Path, table: pa.Table) -> NDArray[np.int64]:
    flat: Any = pc.list_flatten(table.column(CODES))
    if flat.null_count:
        raise InputError(f"{path}: {flat.null_count} codes are null; give every item a code at each level")
    try:
        numbers: NDArray[np.int64] = flat.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path}: a code is too large ({str(error).splitlines()[0]}); codes must be at most {_LARGEST}"
        ) from error
    return numbers
