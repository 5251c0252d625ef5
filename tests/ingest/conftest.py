"""Stores for the tests of ingest."""

from pathlib import Path

import pytest

from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds.fresh_store import empty_warehouse, fresh_store


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty warehouse for copies."""
    return empty_warehouse(tmp_path_factory.mktemp("empty"))


@pytest.fixture
def store(tmp_path: Path, empty: Path) -> DuckDBStore:
    """A store over an empty warehouse."""
    return fresh_store(tmp_path, empty)
