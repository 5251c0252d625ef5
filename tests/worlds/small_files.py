"""Small files for the tests of ingest: what the readers make of their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from semconv_warehouse.ingest.interactions import Interactions, read_interactions
from semconv_warehouse.ingest.items import Items, read_items
from semconv_warehouse.ingest.readers import Dialect, Formatted
from semconv_warehouse.ingest.report import Rejected
from semconv_warehouse.store.duckdb_store import DuckDBStore


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def items_of(path: Path, mapping: Mapping[str, str] | None = None, **dialect: Any) -> Items:
    """Return the cleaned items of a file."""
    return read_items([Formatted(path, Dialect(**dialect))], mapping or {}, Rejected())


def events_of(store: DuckDBStore, path: Path, mapping: Mapping[str, str] | None = None, **dialect: Any) -> Interactions:
    """Return the cleaned interactions of a file."""
    folder = path.with_suffix(".rows")
    folder.mkdir(exist_ok=True)
    return read_interactions(store, [Formatted(path, Dialect(**dialect))], mapping or {}, Rejected(), folder)


def values(read: Items | Interactions, *columns: str) -> list[tuple[Any, ...]]:
    """Return some columns of cleaned rows."""
    table = read.rows if isinstance(read, Items) else pl.read_parquet(read.rows)
    return table.select(columns).rows()
