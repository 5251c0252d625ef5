"""Rows of the table ``item_code``, and training interactions by item, for the runs that make codes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.columns import code_token
from semconv.data.core import train_part
from semconv.data.store import Catalog, RunRecord
from semconv.runs.workspace import Workspace


def code_rows(
    catalog: Catalog,
    index: NDArray[np.int32],
    codes: NDArray[np.uint16],
    is_reassigned: NDArray[np.bool_],
    *,
    source: str,
    code_set_run_id: str,
) -> pa.Table:
    """Return rows of the table ``item_code`` without their run id.

    Args:
        index: ``(M,)`` item index.
        codes: ``(M, N)``.
        is_reassigned: ``(M,)`` whether an item was moved to a free code because another item had the same codes.
        source: a ``vector_source``.
    """
    names = [[code_token(level, int(code)) for level, code in enumerate(row)] for row in codes]
    return pa.table(
        {
            columns.ITEM_ID: pa.array([catalog.item_ids[item] for item in index], pa.string()),
            columns.CODES: pa.array([list(map(int, row)) for row in codes], pa.list_(pa.uint16())),
            columns.SEMANTIC_ID: pa.array(["".join(row) for row in names], pa.string()),
            columns.VECTOR_SOURCE: pa.array([source] * len(index), pa.string()),
            columns.CODE_SET_RUN_ID: pa.array([code_set_run_id] * len(index), pa.string()),
            columns.IS_REASSIGNED: pa.array(is_reassigned, pa.bool_()),
        }
    )


def training_counts(workspace: Workspace, behavior: RunRecord, num_items: int) -> NDArray[np.int64]:
    """Return each item's number of training interactions today, ``(I,)``, with train cut and k-core of ``behavior``."""
    split = behavior.settings["split"]
    train = train_part(workspace.events(split=split), split["train_cut"], split["k_core"], num_items)
    return np.bincount(train.items, minlength=num_items).astype(np.int64)
