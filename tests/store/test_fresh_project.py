"""A new project: it passes all checks, and two first commands at the same time both succeed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.worlds.command import Commands, Done
from tests.worlds.fresh_project import ingest, make_fresh, users

BEFORE_LOCK = "semconv_warehouse.store.migrate:run_lock"  # the command has found no warehouse and takes the lock next


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_fresh(tmp_path)


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
    ended = [commands.wait(each) for each in begun]  # both, so that a second try meets no lock
    for each, done, name in zip(begun, ended, ("a", "b"), strict=True):
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
