"""A command that meets another one which is making the warehouse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worlds.command import Commands
from tests.worlds.fresh_project import ingest, make_fresh, users

IN_CREATION = "semconv_warehouse.store.migrate:_apply"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_fresh(tmp_path)


def test_the_process_that_creates_the_warehouse_is_named(commands: Commands, root: Path) -> None:
    (root / "data" / "warehouse.duckdb").unlink()
    first = commands.start(root, *ingest(root, "a"), stop_in=IN_CREATION)
    refused = commands.run(root, *ingest(root, "b"))
    assert commands.wait(first).status == 0
    assert refused.status == 3, refused.stderr
    assert f"the warehouse is being created by process {first['pid']}" in refused.error
    assert commands.run(root, *ingest(root, "b")).status == 0
    assert users(root) == [("a", 150), ("b", 150)]
