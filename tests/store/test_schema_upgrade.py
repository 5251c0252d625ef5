"""A warehouse of an earlier version is upgraded completely or not at all.

The stored files are made by ``tests/stored/make_warehouse.py``, one for each schema there was.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from semconv_cli.main import cli
from semconv_warehouse.publish.checks import run_checks
from semconv_warehouse.store import migrate as migrate_module
from semconv_warehouse.store.database import open_database
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.migrate import Migration, migrate, migrations, schema_version
from tests.worlds.command import KILLED, Commands
from tests.worlds.paths import ROOT

STORED = sorted((ROOT / "tests" / "stored").glob("warehouse-*.duckdb"))
# The changes that a migration may make to tables with rows and constraints: add and fill columns, create tables.
_NEXT = """
ALTER TABLE user_account ADD COLUMN country VARCHAR DEFAULT 'unknown';
UPDATE user_account SET country = 'nowhere' WHERE user_index = 0;
CREATE TABLE visit (user_id VARCHAR NOT NULL, visits BIGINT NOT NULL);
INSERT INTO visit SELECT user_id, count(*) FROM interaction GROUP BY user_id;
"""
# Kills itself in the transaction, after the tables have changed and before the bookkeeping has.
_KILLED = """
import os, signal, sys
from pathlib import Path
from semconv_warehouse.store import migrate

known, number = migrate.migrations(), len(migrate.migrations())
migrate.migrations = lambda: [*known, migrate.Migration(number + 1, "next", Path(sys.argv[2]))]
migrate.sa.text = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
migrate.schema_version = lambda connection: number
migrate.migrate(Path(sys.argv[1]))
"""


@pytest.fixture
def upgraded(tmp_path: Path) -> Path:
    """A project with a stored warehouse, and the file of one further migration."""
    (tmp_path / "next.sql").write_text(_NEXT)
    layout = ProjectLayout(tmp_path / "project")
    layout.data.mkdir(parents=True)
    layout.settings_file.write_text("")
    shutil.copyfile(STORED[-1], layout.warehouse)
    return layout.root


def with_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = migrations()
    more = Migration(len(known) + 1, "next", tmp_path / "next.sql")
    monkeypatch.setattr(migrate_module, "migrations", lambda: [*known, more])


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with open_database(path, read_only=True) as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def test_every_schema_is_stored_and_small() -> None:
    assert [path.name for path in STORED] == [
        f"warehouse-{number:04d}.duckdb" for number in range(1, len(migrations()) + 1)
    ]
    assert all(path.stat().st_size < 1_000_000 for path in STORED)


@pytest.mark.parametrize("stored", STORED, ids=lambda path: path.stem)
def test_a_stored_warehouse_has_the_newest_schema_after_migrating(stored: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "data" / "warehouse.duckdb", tmp_path / "new" / "warehouse.duckdb"
    old.parent.mkdir()
    shutil.copyfile(stored, old)
    number = int(stored.stem.removeprefix("warehouse-"))
    assert migrate(old) == [migration.name for migration in migrations()[number:]]
    migrate(new)
    tables = (
        "SELECT table_name, column_name, data_type, is_nullable, column_default FROM duckdb_columns() ORDER BY 1, 2"
    )
    assert rows(old, tables) == rows(new, tables)
    assert rows(old, "SELECT count(*) FROM interaction") == [(10,)]
    assert rows(old, "SELECT generation, status FROM generation") == [(1, "published")]
    with open_database(old, read_only=True) as connection:
        assert all(result.passed for result in run_checks(connection, "warehouse"))


def test_any_command_upgrades_and_keeps_every_row(
    upgraded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ProjectLayout(upgraded).warehouse
    before = rows(path, "SELECT * FROM interaction ORDER BY ALL")
    with_next(tmp_path, monkeypatch)
    result = CliRunner().invoke(cli, ["--project", str(upgraded), "runs", "--json"])
    assert result.exit_code == 0, result.stderr
    assert rows(path, "SELECT user_index, country FROM user_account ORDER BY 1")[:2] == [(0, "nowhere"), (1, "unknown")]
    assert rows(path, "SELECT visits FROM visit ORDER BY user_id") == [(1,), (2,), (3,), (4,)]
    assert rows(path, "SELECT * FROM interaction ORDER BY ALL") == before


def test_an_upgrade_that_is_killed_changes_nothing_and_is_repeated(
    commands: Commands, upgraded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, number = ProjectLayout(upgraded).warehouse, len(migrations())
    killed = commands.program(_KILLED, path, tmp_path / "next.sql")
    assert killed.status == KILLED, killed.stderr
    with open_database(path, read_only=True) as connection:
        assert schema_version(connection) == number
    assert rows(path, "SELECT table_name FROM duckdb_tables() WHERE table_name = 'visit'") == []
    with_next(tmp_path, monkeypatch)
    assert migrate(path) == ["next"]
    assert rows(path, "SELECT count(*) FROM visit") == [(4,)]


def test_a_newer_schema_is_refused_in_one_line(upgraded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        with_next(tmp_path, patch)
        migrate(ProjectLayout(upgraded).warehouse)
    number = len(migrations())
    result = CliRunner().invoke(cli, ["--project", str(upgraded), "runs"])
    assert result.exit_code == 4
    assert (
        f"version {number + 1}, but this semconv knows versions up to {number}; install a newer semconv"
        in result.stderr
    )
    assert result.stderr.count("\n") == 1
