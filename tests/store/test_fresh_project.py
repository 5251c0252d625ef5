"""A new project: it passes all checks, and two first commands at the same time both succeed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from semconv_warehouse.project import Project
from tests.worlds.command import Commands, Done

BEFORE_LOCK = "semconv_warehouse.store.migrate:run_lock"  # the command has found no warehouse and takes the lock next
IN_CREATION = "semconv_warehouse.store.migrate:_apply"


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    server = Commands()
    yield server
    server.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A new project, and two files to ingest beside it."""
    Project.init(tmp_path / "project")
    for name in ("a", "b"):
        lines = [f"{name}{user},i{user + number},{number}" for user in range(50) for number in range(3)]
        (tmp_path / f"{name}.csv").write_text("user_id,item_id,source_position\n" + "\n".join(lines))
    return tmp_path / "project"


def ingest(root: Path, name: str) -> tuple[str, ...]:
    return ("ingest", "interactions", str(root.parent / f"{name}.csv"))


def users(root: Path) -> list[tuple[str, int]]:
    """Return the number of interactions by the first letter of the users."""
    with duckdb.connect(str(root / "data" / "warehouse.duckdb"), read_only=True) as connection:
        return connection.execute("SELECT user_id[1], count(*) FROM interaction GROUP BY 1 ORDER BY 1").fetchall()


def require_success_or_lock(done: Done, others: set[int]) -> None:
    assert done.status in (0, 3), done.stderr
    assert done.status == 0 or any(f"process {pid}" in done.error for pid in others), done.error


def test_a_project_that_has_not_published_yet_passes_all_checks(commands: Commands, root: Path) -> None:
    done = commands.run(root, "doctor", "--json")
    assert done.status == 0, done.stderr
    (row,) = [row for row in json.loads(done.stdout) if row["check"] == "serving"]
    assert row == {
        "check": "serving",
        "ok": True,
        "detail": "nothing published yet; `semconv run` publishes the first lists",
    }
    (root / "data").chmod(0o777)
    assert commands.run(root, "doctor").status == 1


@pytest.mark.parametrize("is_made", [True, False])
def test_two_first_ingests_at_once_lose_nothing(commands: Commands, root: Path, is_made: bool) -> None:
    if not is_made:
        (root / "data" / "warehouse.duckdb").unlink()
    begun = [commands.start(root, *ingest(root, name)) for name in ("a", "b")]
    pids = {each["pid"] for each in begun}
    for each, name in zip(begun, ("a", "b"), strict=True):
        done = commands.wait(each)
        require_success_or_lock(done, pids - {each["pid"]})
        if done.status == 3:
            assert commands.run(root, *ingest(root, name)).status == 0
    assert users(root) == [("a", 150), ("b", 150)]


@pytest.mark.parametrize("is_made", [True, False])
def test_two_reading_commands_at_once_both_succeed(commands: Commands, root: Path, is_made: bool) -> None:
    if not is_made:
        (root / "data" / "warehouse.duckdb").unlink()
    begun = [commands.start(root, "runs") for _ in range(2)]
    for done in [commands.wait(each) for each in begun]:
        assert done.status == 0, done.stderr


def test_a_warehouse_that_another_process_has_just_created_is_kept(commands: Commands, root: Path) -> None:
    (root / "data" / "warehouse.duckdb").unlink()
    first = commands.start(root, *ingest(root, "a"), stop_in=BEFORE_LOCK)
    assert commands.run(root, *ingest(root, "b")).status == 0
    assert commands.wait(first).status == 0
    assert users(root) == [("a", 150), ("b", 150)]


@pytest.mark.slow
def test_the_process_that_creates_the_warehouse_is_named(commands: Commands, root: Path) -> None:
    (root / "data" / "warehouse.duckdb").unlink()
    first = commands.start(root, *ingest(root, "a"), stop_in=IN_CREATION)
    refused = commands.run(root, *ingest(root, "b"))
    assert commands.wait(first).status == 0
    assert refused.status == 3, refused.stderr
    assert f"the warehouse is being created by process {first['pid']}" in refused.error
    assert commands.run(root, *ingest(root, "b")).status == 0
    assert users(root) == [("a", 150), ("b", 150)]
