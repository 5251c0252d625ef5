"""The database file: locks and kills with real processes, damage, a full disk, and migrations."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa

from semconv.errors import InputError, LockedError, MachineError
from semconv_warehouse.ingest import ingest_interactions
from semconv_warehouse.store import migrate as migrate_module
from semconv_warehouse.store.database import insert_arrow, open_database, quote_identifier, raw
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.migrate import Migration, migrate, migrations
from tests.worlds.command import KILLED, Commands

# Opens the database, prints "open", and holds it until its standard input is closed.
HOLDER = """
import sys
import duckdb
with duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read"):
    print("open", flush=True)
    sys.stdin.read()
"""
# Ingests, and kills itself by SIGKILL before the merge or inside it.
_KILLED = """
import os, signal, sys
from pathlib import Path
from semconv_warehouse.ingest import interactions, merge
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.duckdb_store import DuckDBStore
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
where = sys.argv[3]
if where == "before": interactions.merge_interactions = die
if where == "inside": merge._INSERT = "CREATE TABLE half AS SELECT 1; " + merge._INSERT; interactions.odd_interactions = die
interactions.ingest_interactions(DuckDBStore(ProjectLayout(Path(sys.argv[1]))), [Path(sys.argv[2])], {})
"""


@pytest.fixture
def layout(tmp_path: Path) -> ProjectLayout:
    layout = ProjectLayout(tmp_path)
    migrate(layout.warehouse)
    return layout


@contextmanager
def held(path: Path, mode: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()


@pytest.mark.parametrize(("holder", "read_only"), [("write", True), ("write", False), ("read", False)])
def test_a_lock_is_an_error_that_names_the_process(layout: ProjectLayout, holder: str, read_only: bool) -> None:
    with held(layout.warehouse, holder) as process:
        with (
            pytest.raises(LockedError, match=rf"process {process.pid}; stop it or use --wait") as caught,
            open_database(layout.warehouse, read_only=read_only),
        ):
            pass
        assert (caught.value.pid, caught.value.exit_code) == (process.pid, 3)
    with open_database(layout.warehouse, read_only=read_only) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM item")).scalar_one() == 0


def test_readers_do_not_lock_out_readers(layout: ProjectLayout) -> None:
    with held(layout.warehouse, "read"):
        assert len(DuckDBStore(layout).catalog()) == 0
        assert migrate(layout.warehouse) == []  # up to date: only read


def test_wait_retries_until_the_lock_is_free(layout: ProjectLayout) -> None:
    with held(layout.warehouse, "write") as process:
        with pytest.raises(LockedError, match=r"tried for 0\.2 s"):
            DuckDBStore(layout, wait=0.2).catalog()
        assert process.stdin is not None
        threading.Timer(0.5, process.stdin.close).start()
        assert len(DuckDBStore(layout, wait=120).catalog()) == 0


def test_two_modes_in_one_process_are_a_lock_too(layout: ProjectLayout) -> None:
    with (
        open_database(layout.warehouse, read_only=True),
        pytest.raises(LockedError, match="this process") as caught,
        open_database(layout.warehouse, read_only=False),
    ):
        pass
    assert caught.value.pid == os.getpid()


@pytest.mark.parametrize("where", ["before", "inside"])
def test_a_killed_ingest_changes_nothing_and_runs_again(
    commands: Commands, layout: ProjectLayout, tmp_path: Path, where: str
) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    first.write_text("user_id,item_id,event_time\nu,a,10\nu,b,20\n")
    second.write_text("user_id,item_id,event_time\nu,c,15\nv,a,1\n")
    store = DuckDBStore(layout)
    ingest_interactions(store, [first], {})
    before = store.content_hash("item"), store.content_hash("interaction")
    done = commands.program(_KILLED, layout.root, second, where)
    assert done.status == KILLED, done.stderr
    assert (store.content_hash("item"), store.content_hash("interaction")) == before
    with store.read() as connection:
        names = connection.exec_driver_sql("SELECT table_name FROM duckdb_tables()").scalars().all()
        assert "half" not in names
    assert ingest_interactions(store, [second], {}).added == 2
    undisturbed = ProjectLayout(tmp_path / "other")
    migrate(undisturbed.warehouse)
    other = DuckDBStore(undisturbed)
    for file in (first, second):
        ingest_interactions(other, [file], {})
    assert [store.content_hash(table) for table in ("item", "interaction")] == [
        other.content_hash(table) for table in ("item", "interaction")
    ]


def test_an_ingest_that_is_locked_out_changes_nothing(layout: ProjectLayout, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id,event_time\nu,a,10\n")
    store = DuckDBStore(layout)
    with held(layout.warehouse, "read"), pytest.raises(LockedError):
        ingest_interactions(store, [path], {})
    assert len(store.catalog()) == 0


def test_no_space_is_a_machine_error_and_rolls_back(commands: Commands, layout: ProjectLayout) -> None:
    """A limit on file size stands for a full disk. The test needs its own process, because limits cannot be lifted."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "import pyarrow as pa\n"
        "from semconv.errors import MachineError\n"
        "from semconv_warehouse.store.database import insert_arrow, open_database\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "path = Path(sys.argv[1])\n"
        "size = path.stat().st_size + 100_000\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "rows = pa.table({'user_id': [f'a long name of user {n}' for n in range(300_000)], 'user_index': range(300_000)})\n"
        "try:\n"
        "    with open_database(path, read_only=False) as connection, connection.begin():\n"
        "        insert_arrow(connection, 'user_account', rows)\n"
        "except MachineError as error:\n"
        "    sys.exit(5)\n"
    )
    done = commands.program(code, layout.warehouse)
    assert done.status == MachineError.exit_code, done.stderr
    assert len(DuckDBStore(layout).sequences()) == 0


@pytest.mark.parametrize("content", [b"", b"no database at all " * 500, None])
def test_a_file_that_is_no_database_is_an_input_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "data" / "warehouse.duckdb"
    migrate(path)
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    left = path.read_bytes()
    for call in (lambda: migrate(path), DuckDBStore(ProjectLayout(tmp_path)).catalog):
        with pytest.raises(InputError, match=r"warehouse\.duckdb: not a DuckDB database, or damaged"):
            call()
    assert path.read_bytes() == left


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(path) as other:
        other.execute("CREATE TABLE theirs (x INTEGER)")
    with pytest.raises(InputError, match=r"other tables \(theirs\)"):
        migrate(path)


def test_migrations_apply_once_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data" / "warehouse.duckdb"
    assert migrate(path) == [migration.name for migration in migrations()]
    assert migrate(path) == []
    assert sorted(file.name for file in path.parent.iterdir()) == ["lock", "warehouse.duckdb"]
    good, bad = tmp_path / "good.sql", tmp_path / "bad.sql"
    good.write_text("CREATE TABLE one (x INTEGER); INSERT INTO one VALUES (1);")
    bad.write_text("CREATE TABLE two (x INTEGER); SELECT no_such_column FROM two;")
    known, number = migrations(), len(migrations())
    monkeypatch.setattr(
        migrate_module,
        "migrations",
        lambda: [*known, Migration(number + 1, "good", good), Migration(number + 2, "bad", bad)],
    )
    with pytest.raises((sa.exc.DBAPIError, duckdb.Error)):
        migrate(path)
    with open_database(path, read_only=True) as connection:
        applied = connection.exec_driver_sql("SELECT version, name FROM schema_migration ORDER BY version").all()
        assert [tuple(row) for row in applied][number:] == [(number + 1, "good")]
        assert connection.exec_driver_sql("SELECT x FROM one").scalars().all() == [1]
        assert "two" not in connection.exec_driver_sql("SELECT table_name FROM duckdb_tables()").scalars().all()
    monkeypatch.setattr(migrate_module, "migrations", lambda: known)
    with pytest.raises(InputError, match=f"version {number + 1}, but this semconv knows versions up to {number}"):
        migrate(path)


def test_arrow_rows_are_matched_by_name_and_part_of_the_transaction(layout: ProjectLayout) -> None:
    rows = pa.table({"user_index": pa.array([0], pa.int32()), "user_id": ["u"]})
    with open_database(layout.warehouse, read_only=False) as connection:
        transaction = connection.begin()
        insert_arrow(connection, "user_account", rows)
        assert raw(connection).execute("SELECT user_id FROM user_account").fetchall() == [("u",)]
        transaction.rollback()
        with connection.begin():
            assert raw(connection).execute("SELECT user_id FROM user_account").fetchall() == []
            insert_arrow(connection, "user_account", rows)
            insert_arrow(connection, "user_account", rows.slice(0, 0))
    assert DuckDBStore(layout).sequences().user_ids == ["u"]


def test_names_are_quoted() -> None:
    with duckdb.connect() as memory:
        name = 'a "quoted" name; DROP TABLE x'
        memory.execute(f"CREATE TABLE {quote_identifier(name)} (x INTEGER)")
        assert memory.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [(name,)]


def test_the_database_is_free_after_an_error(layout: ProjectLayout) -> None:
    with pytest.raises(ZeroDivisionError), open_database(layout.warehouse, read_only=False):
        _ = 1 / 0
    with held(layout.warehouse, "write"):
        pass
