"""Publishing while real other processes read and write, and after a kill -9."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from semconv.errors import LockedError
from semconv_warehouse.publish.generation_files import served_generation
from semconv_warehouse.publish.publications import publications
from semconv_warehouse.publish.publishing import publish, reconcile, rollback
from semconv_warehouse.serving.query import query
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.command import KILLED, Commands
from tests.worlds.published import SERVE, Project, add_recommend_run, copy_project, lists, make_project

Kill = Callable[..., None]
# Kills itself at the first call of one function, so that no handler and no clean-up runs.
_KILLED = """
import os, signal, sys
from pathlib import Path
from semconv_warehouse.publish import build, publishing
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.duckdb_store import DuckDBStore

where, act = sys.argv[2].split(":")
module = {"build": build, "publishing": publishing}[where]
setattr(module, act, lambda *arguments, **named: os.kill(os.getpid(), signal.SIGKILL))
layout = ProjectLayout(Path(sys.argv[1]))
getattr(publishing, sys.argv[3])(layout, DuckDBStore(layout), *sys.argv[4:])
"""

_HOLDING = """
import sys
import duckdb
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("open", flush=True)
for line in sys.stdin:
    print(connection.execute(line).fetchall(), flush=True)
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout, store = make_project(tmp_path_factory.mktemp("template") / "project")
    add_recommend_run(store, "recommend-2", lists(1))
    publish(layout, store, "recommend-1")
    return layout.root


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    """Generation 1 with the lists of recommend-1 is served; recommend-2 is not published."""
    return copy_project(template, tmp_path / "project")


@contextmanager
def holding(path: Path, mode: str) -> Iterator[subprocess.Popen[str]]:
    """Another process with the database open."""
    arguments = [sys.executable, "-c", _HOLDING, str(path), mode]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], statement: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(statement + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.fixture
def kill_at(commands: Commands, project: Project) -> Kill:
    """Kills a publish or a rollback of the project before it calls a function."""

    def kill(moment: str, act: str, *arguments: str) -> None:
        done = commands.program(_KILLED, project[0].root, moment, act, *arguments)
        assert done.status == KILLED, done.stderr

    return kill


GENERATION = "SELECT DISTINCT generation FROM recommendation"


def test_an_open_reader_keeps_its_generation_and_a_new_one_sees_the_new_generation(project: Project) -> None:
    layout, store = project
    with holding(layout.serving, "read") as reader:
        assert ask(reader, GENERATION) == "[(1,)]"
        assert publish(layout, store, "recommend-2").generation == 2
        assert ask(reader, GENERATION) == "[(1,)]"
        with holding(layout.serving, "read") as later:
            assert ask(later, GENERATION) == "[(2,)]"


def test_a_held_connection_of_this_process_does_not_hide_the_new_generation(project: Project) -> None:
    layout, store = project
    with duckdb.connect(str(layout.serving), read_only=True) as held:
        publish(layout, store, "recommend-2")
        assert held.execute(GENERATION).fetchall() == [(1,)]
        assert served_generation(layout) == 2
        assert query(layout, GENERATION).to_pylist() == [{"generation": 2}]
        assert rollback(layout, store).generation == 1


def test_a_warehouse_in_use_stops_a_publish_and_changes_nothing(project: Project) -> None:
    layout, store = project
    with holding(layout.warehouse, "write") as writer, pytest.raises(LockedError, match=str(writer.pid)):
        publish(layout, store, "recommend-2")
    assert served_generation(layout) == 1
    assert publish(layout, store, "recommend-2").generation == 2


@pytest.mark.parametrize("moment", ["build:run_checks", "publishing:seal", "publishing:replace_serving"])
def test_killed_before_the_commit_point(kill_at: Kill, project: Project, moment: str) -> None:
    layout, store = project
    kill_at(moment, "publish", "recommend-2")
    assert len(list(layout.generations.iterdir())) > 2  # something was left behind
    assert reconcile(layout, store) is None
    assert served_generation(layout) == 1
    publication = publish(layout, store, "recommend-2")
    assert (publication.publication, publication.generation, publication.is_new) == (2, 2, True)
    assert {path.name for path in layout.generations.iterdir()} == {"000001.duckdb", "000002.duckdb", "lock"}


def test_killed_between_the_rename_and_the_row(kill_at: Kill, project: Project) -> None:
    layout, store = project
    before = publications(store)
    kill_at("publishing:write_publication", "publish", "recommend-2")
    assert served_generation(layout) == 2
    assert publications(store) == before
    late = reconcile(layout, store)
    assert late is not None
    assert (late.publication, late.generation) == (2, 2)
    assert late.published_at > before[0].published_at
    assert publications(store)[-1] == late
    assert reconcile(layout, store) is None
    assert not publish(layout, store, "recommend-2").is_new


def test_rollback_killed_between_the_rename_and_the_row(kill_at: Kill, project: Project) -> None:
    layout, store = project
    second = publish(layout, store, "recommend-2")
    kill_at("publishing:write_publication", "rollback")
    assert served_generation(layout) == 1
    late = reconcile(layout, store)
    assert late is not None
    assert (late.publication, late.generation) == (3, 1)
    assert late.published_at > second.published_at


def test_a_publish_repairs_the_record_of_a_killed_one_by_itself(kill_at: Kill, project: Project) -> None:
    layout, store = project
    kill_at("publishing:write_publication", "publish", "recommend-2")
    add_recommend_run(store, "recommend-3", lists(), settings={**SERVE, "again": True})
    publish(layout, store, "recommend-3")
    assert [(entry.publication, entry.generation) for entry in publications(store)] == [(1, 1), (2, 2), (3, 3)]


def test_leftovers_of_a_killed_publish_are_cleaned(project: Project) -> None:
    layout, store = project
    left = layout.generations / ".000007.duckdb.1.tmp"
    left.write_bytes(b"half")
    left.with_name(f"{left.name}.wal").write_bytes(b"half")
    (left.with_name(f"{left.name}.tmp")).mkdir()
    link = layout.data / ".serving.duckdb.1.tmp"
    os.link(layout.generation_file(1), link)
    publish(layout, store, "recommend-2")
    assert not list(layout.generations.glob(".*"))
    assert not link.exists()


def test_a_lost_serving_file_is_restored(project: Project) -> None:
    layout, store = project
    layout.serving.unlink()
    assert reconcile(layout, store) is None
    assert served_generation(layout) == 1


def test_a_copied_project_knows_what_it_serves(project: Project, tmp_path: Path) -> None:
    layout, _ = project
    copy = ProjectLayout(tmp_path / "copy")
    shutil.copytree(layout.root, copy.root)  # hard links become two files
    store = DuckDBStore(copy)
    assert served_generation(copy) == 1
    assert reconcile(copy, store) is None
    assert publish(copy, store, "recommend-2").generation == 2
