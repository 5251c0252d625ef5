"""The current codes of a lineage: the codes of its code set and of its assign runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.artifacts import read_arrays
from semconv.data.store import RunRecord
from semconv.errors import InputError
from semconv.runs.files import CODES
from semconv.runs.workspace import Workspace


@dataclass(frozen=True)
class ItemCodes:
    """N codes for each of M items: first the items of the code set, then the items of each assign run."""

    item_index: NDArray[np.int32]  # (M,)
    codes: NDArray[np.uint16]  # (M, N)
    popularity: NDArray[np.int64]  # (M,) training interactions when the codes were made

    @classmethod
    def read(cls, workspace: Workspace, runs: tuple[RunRecord, ...]) -> ItemCodes:
        """Read and join the ``codes.safetensors`` of a codebook run and its assign runs."""
        parts = [read_arrays(workspace.intact(run, CODES)) for run in runs]
        return cls(*(np.concatenate([part[name] for part in parts]) for name in ("item_index", "codes", "popularity")))

    def of(self, item_index: NDArray[np.int32]) -> NDArray[np.uint16]:
        """Return the codes ``(n, N)`` of the given items; raise InputError if an item has no codes."""
        row_of = {int(item): row for row, item in enumerate(self.item_index)}
        missing = [int(item) for item in item_index if int(item) not in row_of]
        if missing:
            raise InputError(
                f"{len(missing)} items that the model was tuned on have lost their codes; tune again with `semconv finetune`"
            )
        return self.codes[[row_of[int(item)] for item in item_index]]

    def by_item(self, num_items: int) -> NDArray[np.int64]:
        """Return the codes by item index, ``(I, N)``; -1 in the rows of items without codes."""
        table = np.full((num_items, self.codes.shape[1]), -1, dtype=np.int64)
        table[self.item_index] = self.codes
        return table
