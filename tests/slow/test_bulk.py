"""Ingest of ten million rows of one user, of a million users with one row, and of ten million events of three types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from semconv_warehouse.opened import OpenedProject
from tests.worlds.peak_memory import semconv
from tests.worlds.reading import reading

# Shape -> a query for the rows, and the expected numbers of rows, users and items.
SHAPES = {
    "one user of ten million rows": (
        "SELECT 'u' AS user_id, 'i' || range % 1000 AS item_id, 1_000_000_000 + range AS event_time FROM range(10_000_000)",
        (10_000_000, 1, 1_000),
    ),
    "a million users of one row": (
        "SELECT 'u' || range AS user_id, 'i' || range % 1000 AS item_id, 1_000_000_000 + range AS event_time FROM range(1_000_000)",
        (1_000_000, 1_000_000, 1_000),
    ),
    "ten million events of three types": (
        """
        SELECT 'user-' || lpad((range % 1_000_000)::VARCHAR, 7, '0') AS user_id, 'i' || range % 99_991 AS item_id,
            1_000_000_000 + range // 3 AS event_time, ['view', 'cart', 'purchase'][range % 3 + 1] AS event_type
        FROM range(10_000_000)
        """,
        (10_000_000, 1_000_000, 99_991),
    ),
}
MOST_BYTES = 1 << 30


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_counted_and_memory_is_bounded(tmp_path: Path, shape: str) -> None:
    statement, (num_rows, num_users, num_items) = SHAPES[shape]
    root = OpenedProject.init(tmp_path / "project", "").root
    with duckdb.connect() as connection:
        connection.sql(statement).write_parquet(str(tmp_path / "rows.parquet"))
    done, peak = semconv(root, "ingest", "interactions", str(tmp_path / "rows.parquet"), "--json")
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert (report["read"], report["added"], report["rejected"]) == (num_rows, num_rows, {})
    assert peak < MOST_BYTES
    with reading(root / "data" / "warehouse.duckdb") as connection:
        counts = "SELECT (SELECT count(*) FROM interaction), (SELECT count(*) FROM user_account), (SELECT count(*) FROM item)"
        assert connection.execute(counts).fetchone() == (num_rows, num_users, num_items)
        assert connection.execute("SELECT max(position) FROM interaction").fetchone() == (num_rows // num_users - 1,)
    checked, peak = semconv(root, "check")
    assert checked.returncode == 0, checked.stderr
    assert peak < MOST_BYTES
    refused, _ = semconv(root, "publish")
    assert refused.returncode == 4
    assert "no lists for serving yet" in refused.stderr
