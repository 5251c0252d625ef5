"""An empty warehouse: made once by the migrations, then copied."""

from __future__ import annotations

import shutil
from pathlib import Path

from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.migrate import migrate


def empty_warehouse(folder: Path) -> Path:
    layout = ProjectLayout(folder)
    migrate(layout.warehouse)
    return layout.warehouse


def fresh_store(folder: Path, warehouse: Path) -> DuckDBStore:
    """Return a store in ``folder`` over a copy of ``warehouse``."""
    layout = ProjectLayout(folder)
    layout.data.mkdir(parents=True, exist_ok=True)
    shutil.copy(warehouse, layout.warehouse)
    return DuckDBStore(layout)
