"""Requests and computations for the run book."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from semconv.artifacts import write_bytes
from semconv.runs.book import StageRequest
from semconv_warehouse.project import Project
from semconv_warehouse.store.database import insert_arrow

VECTORS = {
    "item_embedding": pa.table(
        {"item_id": ["i0"], "vector_source": ["learned"], "vector": pa.array([[1.0, 2.0]], pa.list_(pa.float32()))}
    )
}


def add_item(project: Project, number: int) -> None:
    with project.store.write() as connection:
        insert_arrow(
            connection, "item", pa.table({"item_id": [f"i{number}"], "item_index": pa.array([number], pa.int32())})
        )


def request(**changes: Any) -> StageRequest:
    return StageRequest(**{"stage": "embed_behavior", "settings": {"a": 1}, "tables": ("item",), **changes})


class Compute:
    """Counts its calls; every call adds a file, so that a resumed run shows what was there."""

    def __init__(self, error: BaseException | None = None, tables: Any = VECTORS) -> None:
        self.calls, self.found = 0, []
        self.error, self.tables = error, tables

    def __call__(self, folder: Path) -> Any:
        self.calls += 1
        self.found.append(sorted(path.name for path in folder.glob("shard-*")))
        write_bytes(folder / f"shard-{len(self.found[-1])}", b"")
        if self.error is not None:
            raise self.error
        return self.tables
