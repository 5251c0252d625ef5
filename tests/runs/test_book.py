"""Runs: reused by fingerprint, resumed after a death, recorded once, and held by one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from semconv.artifacts import write_bytes
from semconv.data.store import RunRecord
from semconv.errors import CheckFailedError, LockedError, MachineError
from semconv.locks import lock_holder, run_lock
from semconv.runs.book import RunBook, StageRequest
from semconv.runs.files import COMPLETE
from semconv_warehouse.project import Project
from tests.worlds.projects import rows
from tests.worlds.runs import Compute, add_item, request


@contextmanager
def process(program: str) -> Iterator[int]:
    """Another process that says when it is ready; its PID."""
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        yield running.pid
    finally:
        running.kill()
        running.wait()


def holding_warehouse(project: Project) -> Any:
    return process(
        f"import duckdb, time; c = duckdb.connect({str(project.layout.warehouse)!r}); print('ready', flush=True); time.sleep(600)"
    )


def holding_run(folder: Path) -> Any:
    return process(
        "import time, pathlib; from semconv.locks import run_lock\n"
        f"with run_lock(pathlib.Path({str(folder)!r})):\n  print('ready', flush=True); time.sleep(600)"
    )


def statuses(project: Project) -> list[str]:
    return [run.status for run in project.store.runs()]


def test_a_finished_run_with_the_same_fingerprint_is_reused(project: Project) -> None:
    first, second = Compute(), Compute()
    made = project.book.execute(request(), first)
    assert not made.is_reused
    assert made.record.status == "finished"
    again = project.book.execute(request(), second)
    assert again.is_reused
    assert again.record == made.record
    assert (first.calls, second.calls) == (1, 0)
    assert rows(project, "SELECT run_id, item_id, vector FROM item_embedding") == [
        (made.record.run_id, "i0", [1.0, 2.0])
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"a": 2}},
        {"settings": {"a": 1, "b": None}},
        {"stage": "embed_text"},
        {"content": {"file": "abc"}},
        {"tables": ("item", "interaction")},
    ],
)
def test_whatever_determines_the_result_is_in_the_fingerprint(project: Project, changes: dict[str, Any]) -> None:
    made = project.book.execute(request(), Compute())
    other = project.book.execute(request(**changes), Compute())
    assert not other.is_reused
    assert other.record.fingerprint != made.record.fingerprint


def test_content_of_tables_and_inputs_are_in_the_fingerprint(project: Project) -> None:
    made = project.book.execute(request(), Compute())
    assert not project.book.is_stale(made.record, {"a": 1})
    assert project.book.is_stale(made.record, {"a": 2})
    above = request(stage="codebook", tables=(), inputs=(made.record,))
    first = project.book.execute(above, Compute(tables={}))
    add_item(project, 1)
    assert project.book.is_stale(made.record, {"a": 1})
    other = project.book.execute(request(), Compute())
    assert not other.is_reused
    assert project.book.execute(above, Compute(tables={})).record == first.record
    new = project.book.execute(request(stage="codebook", tables=(), inputs=(other.record,)), Compute(tables={}))
    assert not new.is_reused
    assert new.record.inputs == (other.record.run_id,)


@pytest.mark.parametrize("death", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_a_dead_run_goes_on_in_its_own_folder(project: Project, death: BaseException) -> None:
    dying = Compute(death)
    with pytest.raises(type(death)):
        project.book.execute(request(), dying)
    assert statuses(project) == ["running"]
    unfinished = project.book.folder(project.store.runs()[0]) / "deep" / ".part-00000.parquet.4711.tmp"
    unfinished.parent.mkdir()
    write_bytes(unfinished, b"what the dead process was writing")
    living = Compute()
    outcome = project.book.execute(request(), living)
    assert not unfinished.exists()
    assert living.found == [["shard-0"]]
    assert not outcome.is_reused
    assert statuses(project) == ["finished"]


def test_a_failed_run_says_why_and_goes_on_when_asked_again(project: Project) -> None:
    for error, line in (
        (CheckFailedError("the loss of user u17 is nan"), "a check failed"),
        (MemoryError(), "out of memory"),
    ):
        with pytest.raises(type(error)):
            project.book.execute(request(), Compute(error))
        stored = f"{line}; the command that failed printed the details"
        assert [(run.status, run.error) for run in project.store.runs()] == [("failed", stored)]
    living = Compute()
    assert project.book.execute(request(), living).record.error is None
    assert living.found == [["shard-0", "shard-1"]]
    assert statuses(project) == ["finished"]


def test_a_full_disk_and_a_folder_without_permission_are_named(project: Project) -> None:
    full = OSError(28, "No space left on device")
    with pytest.raises(MachineError, match=r"embed_behavior-.*: no space left"):
        project.book.execute(request(), Compute(full))
    assert statuses(project) == ["failed"]
    assert not project.book.execute(request(), Compute()).is_reused


def test_a_locked_folder_says_what_its_holder_does(tmp_path: Path) -> None:
    program = (
        "import time, pathlib; from semconv.locks import run_lock\n"
        f"with run_lock(pathlib.Path({str(tmp_path)!r}), work='a cake is being baked'):\n"
        "  print('ready', flush=True); time.sleep(600)"
    )
    with (
        process(program) as pid,
        pytest.raises(LockedError, match=rf"^a cake is being baked by process {pid}; stop it or use --wait SECONDS$"),
        run_lock(tmp_path, work="bread is being baked"),
    ):
        pass
    with run_lock(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()


def test_a_run_that_another_process_computes_is_left_alone(project: Project) -> None:
    with pytest.raises(KeyboardInterrupt):
        project.book.execute(request(), Compute(KeyboardInterrupt()))
    folder = project.book.folder(project.store.runs()[0])
    with holding_run(folder) as pid:
        with pytest.raises(LockedError, match=rf"process {pid}; stop it or use --wait SECONDS") as caught:
            project.book.execute(request(), Compute())
        assert caught.value.pid == pid
        assert caught.value.exit_code == 3
        assert {row["check"]: row["detail"] for row in project.doctor()}[
            f"run {folder.name}"
        ] == f"computed by process {pid}"
        assert project.prune(1, False)["runs"] == []
    assert not project.book.execute(request(), Compute()).is_reused  # the kernel frees the lock of who is killed


def test_a_run_that_was_finished_by_who_held_its_lock_is_not_done_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = project.book
    seen: list[list[RunRecord]] = [[]]  # nothing known at first: the other process has not finished yet
    runs = project.store.runs
    made = book.execute(request(), Compute())

    def late(*, stage: str | None = None, status: str | None = None) -> list[RunRecord]:
        if seen:
            seen.pop()
            return [RunRecord(**{**vars(made.record), "status": "running"})]
        return runs(stage=stage, status=status)

    monkeypatch.setattr(project.store, "runs", late)
    compute = Compute()
    outcome = RunBook(project.store, book.root, book.runs_folder, book.progress).execute(request(), compute)
    assert outcome.is_reused
    assert compute.calls == 0


# Waits for a word, then makes a run that takes a moment, and says what it did.
_BEGINNING = """
import sys, time
from pathlib import Path
from semconv.runs.book import StageRequest
from semconv_warehouse.project import Project

def compute(folder):
    print("computes", flush=True)
    time.sleep(1.5)  # into the next second, which is part of a new run's name
    return {}

book = Project.open(Path(sys.argv[1]), wait=60).book
print("ready", flush=True)
sys.stdin.readline()
outcome = book.execute(StageRequest("embed_text", {"a": 1}, (), ("item",)), compute)
print(outcome.record.run_id, outcome.is_reused)
"""


def test_two_processes_that_begin_the_same_run_at_once_compute_it_once(project: Project) -> None:
    arguments = [sys.executable, "-c", _BEGINNING, str(project.layout.root)]
    both = [subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for running in both:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
    for running in both:
        assert running.stdin is not None
        running.stdin.write("go\n")
        running.stdin.flush()
    said = [running.communicate(timeout=120)[0].split() for running in both]
    assert [running.returncode for running in both] == [0, 0]
    first, second = sorted(said, key=len, reverse=True)
    assert (first[0], first[2], second) == ("computes", "False", [first[1], "True"])
    assert statuses(project) == ["finished"]


def test_a_warehouse_that_is_held_at_the_end_costs_no_second_computation(project: Project) -> None:
    class Locking(Compute):
        def __call__(self, folder: Path) -> Any:
            result = super().__call__(folder)
            self.holder = holding_warehouse(project)
            self.pid = self.holder.__enter__()
            return result

    compute = Locking()
    with pytest.raises(LockedError) as caught:
        project.book.execute(request(), compute)
    assert caught.value.pid == compute.pid
    compute.holder.__exit__(None, None, None)
    assert statuses(project) == ["running"]
    outcome = project.book.execute(request(), compute)
    assert compute.calls == 1
    assert not outcome.is_reused
    assert rows(project, "SELECT count(*) FROM item_embedding") == [(1,)]
    assert statuses(project) == ["finished"]


def test_a_warehouse_that_is_held_at_the_start_changes_nothing(project: Project) -> None:
    compute = Compute()
    with holding_warehouse(project) as pid, pytest.raises(LockedError, match=f"process {pid}"):
        project.book.execute(request(), compute)
    assert compute.calls == 0
    assert statuses(project) == []
    with holding_warehouse(project):
        opened = Project.open(project.layout.root)  # what is served can be read; the rest says who holds it
        with pytest.raises(LockedError):
            opened.runs()


def test_a_run_whose_folder_was_pruned_is_made_again_under_its_own_name(project: Project) -> None:
    made = project.book.execute(request(), Compute()).record
    (project.book.folder(made) / COMPLETE).unlink()
    again = project.book.execute(request(), Compute())
    assert not again.is_reused
    assert again.record.run_id == made.run_id
    assert rows(project, "SELECT count(*) FROM item_embedding") == [(1,)]


def test_a_run_that_is_taken_up_again_is_the_current_one(project: Project) -> None:
    first = project.book.execute(request(), Compute()).record
    second = project.book.execute(request(settings={"a": 2}), Compute()).record
    assert project.workspace.need("embed_behavior") == second
    back = project.book.execute(request(), Compute())
    assert back.is_reused
    assert back.record.run_id == first.run_id
    assert project.workspace.need("embed_behavior").run_id == first.run_id
    assert project.book.finished("embed_behavior")[0].run_id == first.run_id


def test_lists_for_scoring_do_not_take_the_place_of_lists_for_serving(project: Project) -> None:
    serve = StageRequest("recommend", {"split": "serve"})
    first = project.book.execute(serve, Compute(tables={})).record
    project.book.execute(StageRequest("recommend", {"split": "test"}), Compute(tables={}))
    assert project.book.execute(serve, Compute(tables={})).record == first  # not touched: it is the newest of its kind
