"""How one user is taken out of a file: the kinds of layout in which files of a run hold users.

The arrays in the file stay arrays of the same names and types, so its readers notice no difference.
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
    """A Parquet file. The rows whose column ``user_id`` names the user are deleted, if it has that column."""


@dataclass(frozen=True)
class WholeFile:
    """A file that no user can be taken out of and that the project can do without. It is deleted."""


class UserArrays(ABC):
    """A safetensors file of arrays in which users are known by their ``user_index``."""

    @abstractmethod
    def without(self, arrays: Arrays, users: NDArray[np.int64]) -> tuple[Arrays, int]:
        """Return the arrays without the users of some ``user_index`` values, and the number of values or rows erased."""


@dataclass(frozen=True)
class IndexedRows(UserArrays):
    """Row r of ``arrays`` belongs to the user ``index[r]``. The row is deleted, in ``index`` too."""

    index: str
    arrays: tuple[str, ...]

    def without(self, arrays: Arrays, users: NDArray[np.int64]) -> tuple[Arrays, int]:
        """See :meth:`UserArrays.without`."""
        erased = np.isin(arrays[self.index], users)
        kept = {name: arrays[name][~erased] for name in (self.index, *self.arrays)}
        return {**arrays, **kept}, int(erased.sum())


@dataclass(frozen=True)
class Slices(UserArrays):
    """User u has the values ``offsets[u]`` to ``offsets[u + 1]`` of ``arrays``. The user keeps an empty slice."""

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
    """Row r of ``array`` belongs to the user ``index[r]``. The row becomes 0 and stays, since other files count rows."""

    index: str
    array: str

    def without(self, arrays: Arrays, users: NDArray[np.int64]) -> tuple[Arrays, int]:
        """See :meth:`UserArrays.without`."""
        values = arrays[self.array]
        erased = np.isin(arrays[self.index], users) & (values != 0)
        return {**arrays, self.array: np.where(erased, 0, values).astype(values.dtype)}, int(erased.sum())


UserData = ParquetRows | WholeFile | UserArrays
