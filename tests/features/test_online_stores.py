"""What Feast brings online, on SQLite; tests/services has the same for servers of Redis and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.serving.online_stores import ONLINE_STORES
from tests.worlds.features.online_stores import OnlineStoreBehaviour


@pytest.fixture(scope="module", params=["sqlite"])
def online_store(request: pytest.FixtureRequest) -> Iterator[str]:
    with ONLINE_STORES[request.param]() as block:
        yield block


class TestSqlite(OnlineStoreBehaviour):
    """The behaviour, without servers."""
