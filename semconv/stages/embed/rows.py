"""The text of items, and rows of the embedding tables, for the runs that make vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.backbone.text_vectors import item_text
from semconv.data.store import Catalog


def embedding_rows(
    id_column: str, ids: Sequence[str], index: NDArray[np.int32], vectors: NDArray[np.float32], source: str
) -> pa.Table:
    """Return rows of the table ``item_embedding`` or ``user_embedding`` without their run id.

    Args:
        ids: the ids of all items or users, by index.
        index: ``(M,)`` item or user index.
        vectors: ``(M, D)``.
        source: a ``vector_source``.
    """
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).ravel())
    offsets = pa.array(np.arange(len(index) + 1, dtype=np.int32) * vectors.shape[1])
    return pa.table(
        {
            id_column: pa.array([ids[row] for row in index], pa.string()),
            columns.VECTOR_SOURCE: pa.array([source] * len(index), pa.string()),
            columns.VECTOR: pa.ListArray.from_arrays(offsets, flat),
        }
    )


def catalog_texts(catalog: Catalog) -> list[str]:
    """Return the text of every item, empty for items without text."""
    return [
        item_text(title, description) for title, description in zip(catalog.titles, catalog.descriptions, strict=True)
    ]
