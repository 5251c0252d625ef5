"""How a user is erased from a file of a run. There is one class for each layout of files with data of users.

The arrays of a file keep their names and types, so code that reads the file need not know that a user was erased.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semconv.ragged import offsets_of

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ParquetRows:
    """A Parquet file. If the file has a column ``user_id``, the rows of the user are deleted."""


@dataclass(frozen=True)
class WholeFile:
    """A file from which a single user cannot be erased. The whole file is deleted; the project can do without it."""


class UserArrays(ABC):
    """A safetensors file whose arrays identify users by their ``user_index``."""

    @abstractmethod
    def without(self, arrays: Arrays, users: NDArray[np.int64]) -> tuple[Arrays, int]:
        """Return the arrays without the users of the given ``user_index``, and the number of erased values or rows."""


@dataclass(frozen=True)
class IndexedRows(UserArrays):
    """Arrays whose row r belongs to the user ``index[r]``. An erased user's rows are deleted, also from ``index``."""

    index: str
    arrays: tuple[str, ...]

    def without(self, arrays: Arrays, users: NDArray[np.int64]) -> tuple[Arrays, int]:
        """See :meth:`UserArrays.without`."""
        erased = np.isin(arrays[self.index], users)
        kept = {name: arrays[name][~erased] for name in (self.index, *self.arrays)}
        return {**arrays, **kept}, int(erased.sum())


@dataclass(frozen=True)
class Slices(UserArrays):
    """Arrays whose values from ``offsets[u]`` to ``offsets[u + 1]`` belong to user u. Erasing deletes these values."""

    offsets: str
    arrays: tuple[str, ...]

    def without(self, arrays: Arrays, users: NDArray[np.int64]) -> tuple[Arrays, int]:
        """See :meth:`UserArrays.without`."""
        offsets = arrays[self.offsets]
        lengths = np.diff(offsets)
        is_erased = np.isin(np.arange(len(lengths)), users)
        keep = ~np.repeat(is_erased, lengths)
        kept = {name: arrays[name][keep] for name in self.arrays}
        shorter = offsets_of(np.where(is_erased, 0, lengths)).astype(offsets.dtype)
        return {**arrays, **kept, self.offsets: shorter}, int((~keep).sum())


@dataclass(frozen=True)
class BlankedRows(UserArrays):
    """An array whose row r belongs to the user ``index[r]``. An erased user's row is set to 0; no other row moves."""

    index: str
    array: str

    def without(self, arrays: Arrays, users: NDArray[np.int64]) -> tuple[Arrays, int]:
        """See :meth:`UserArrays.without`."""
        values = arrays[self.array]
        erased = np.isin(arrays[self.index], users) & (values != 0)
        return {**arrays, self.array: np.where(erased, 0, values).astype(values.dtype)}, int(erased.sum())


UserData = ParquetRows | WholeFile | UserArrays
