"""Connections that copy rows of all users with little memory."""

from __future__ import annotations

import duckdb
import pytest

from semconv_warehouse.store.database import prepare_bulk


@pytest.mark.parametrize(("memory_mb", "threads", "used"), [(512, 64, 4), (512, 2, 2), (1024, 64, 8), (256, 64, 2)])
def test_a_limit_on_memory_limits_the_threads(memory_mb: int, threads: int, used: int) -> None:
    """With 64 threads, DuckDB could not sort five million rows in 512 MB."""
    with duckdb.connect(config={"threads": threads}) as connection:
        prepare_bulk(connection, memory_mb)
        assert connection.execute("SELECT current_setting('threads')").fetchall() == [(used,)]
        (limit,) = connection.execute("SELECT current_setting('memory_limit')").fetchall()[0]
        assert float(limit.removesuffix(" MiB")) == pytest.approx(memory_mb * 1e6 / 2**20, abs=0.1)
