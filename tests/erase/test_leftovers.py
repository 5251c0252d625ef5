"""Files of killed processes: every writing command removes them under the locks, and `forget` leaves no byte in them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from semconv.artifacts import atomic_path
from semconv.errors import InputError, LockedError
from semconv.locks import run_lock
from semconv.runs.digests import damaged_files
from semconv_cli.main import cli
from semconv_warehouse.erase import forgetting
from semconv_warehouse.features import online
from semconv_warehouse.ingest import interactions, sql_source
from semconv_warehouse.project import Project
from semconv_warehouse.store.database import open_database
from tests.worlds.erasing import ERASED, content, copied, person, template, traces
from tests.worlds.published import lists, recommendation_rows

LEFTOVERS = (
    ".warehouse.duckdb.4711.tmp",
    ".warehouse.duckdb.4711.tmp.wal",
    ".serving.duckdb.4711.tmp",
    ".forgetting.json.4711.tmp",
    ".rows-abc/part-000000.parquet",
    "generations/.000003.duckdb.4711.tmp",
    "generations/.000003.duckdb.4711.tmp.tmp/duckdb_temp_block-1.block",
    "features/user_top_k/.000004.parquet.4711.tmp",
    "features/.materialized.json.4711.tmp",
    "runs/recommend-2/.part-00001.parquet.4711.tmp",
    "runs/finetune-1/model/.model.safetensors.4711.tmp",
    "runs/recommend-2/.load.duckdb.4711.tmp.tmp/duckdb_temp_storage-0.tmp",
    "warehouse.duckdb.tmp/duckdb_temp_storage-0.tmp",
    "experiments/data/.warehouse.duckdb.4711.tmp",
    "experiments/data/runs/recommend-9/.part-00001.parquet.4711.tmp",
)
OF_READERS = ("serving.duckdb.tmp/duckdb_temp_block-1.block", "generations/000001.duckdb.tmp/duckdb_temp_block-1.block")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return copied(template(), tmp_path / "project")


def leave(project: Project, names: tuple[str, ...] = LEFTOVERS) -> set[str]:
    """Write files as killed processes leave them."""
    for name in names:
        path = project.layout.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ERASED)
    return set(names)


def left(project: Project, names: tuple[str, ...] = LEFTOVERS) -> set[str]:
    return {name for name in names if (project.layout.data / name).exists()}


def ingest(project: Project) -> None:
    file = project.layout.root / "rows.csv"
    file.write_text("user_id,item_id,source_position\nnew,i1,1\n")
    assert CliRunner().invoke(cli, ["--project", str(file.parent), "ingest", "interactions", str(file)]).exit_code == 0


def load(project: Project) -> None:
    file = project.layout.root / "lists.parquet"
    pq.write_table(recommendation_rows({person(0): ["i5"]}), file)
    project.recommend_load([file])


def roll_back(project: Project) -> None:
    with pytest.raises(InputError, match="no generation before 1"):
        project.rollback()


WRITING: dict[str, Callable[[Project], object]] = {
    "ingest": ingest,
    "recommend load": load,
    "publish --rollback": roll_back,
    "features apply": lambda project: project.features_apply(),
    "prune": lambda project: project.prune(3, False),
    "forget": lambda project: project.forget([ERASED]),
}


@pytest.mark.parametrize("command", WRITING)
def test_a_writing_command_removes_what_killed_processes_left(project: Project, command: str) -> None:
    leave(project)
    WRITING[command](project)
    assert left(project) == set()


def test_forget_removes_temporary_files_of_readers_too(project: Project) -> None:
    leave(project, OF_READERS)
    project.forget([ERASED])
    assert left(project, OF_READERS) == set()
    assert traces(project) == set()


def test_reading_and_dry_runs_remove_nothing(project: Project) -> None:
    expected = leave(project)
    before = content(project)
    for words in (["show", "user", ERASED], ["runs"], ["check"], ["prune", "--dry-run"], ["forget", "--user", ERASED, "--dry-run"]):  # fmt: skip
        result = CliRunner().invoke(cli, ["--project", str(project.layout.root), *words])
        assert result.exit_code == 0, result.output
    assert left(project) == expected
    assert content(project) == before


@pytest.mark.parametrize(
    ("folder", "kept"),
    [
        (".", {".warehouse", ".serving", ".forgetting", ".rows-abc"}),
        ("features", {"features/user_top_k", "features/.materialized"}),
        ("runs/recommend-2", {"runs/recommend-2"}),
        (".rows-abc", {".rows-abc"}),
    ],
)
def test_files_of_a_living_process_stay(project: Project, folder: str, kept: set[str]) -> None:
    expected = {name for name in leave(project) if name.startswith(tuple(kept))}
    with run_lock(project.layout.data / folder):
        load(project)
    assert left(project) == expected


def test_the_rows_of_an_ingest_are_locked_and_removed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command sees the folder with the rows, and leaves it alone; afterwards it is gone."""
    seen: list[Path] = []

    def cleaned_meanwhile(*arguments: Any, **options: Any) -> object:
        cleaned = read(*arguments, **options)
        project.features_apply()
        seen.extend(project.layout.data.glob(".rows-*/interactions.parquet"))
        return cleaned

    read = interactions.read_interactions
    monkeypatch.setattr(interactions, "read_interactions", cleaned_meanwhile)
    ingest(project)
    assert len(seen) == 1
    assert not seen[0].parent.exists()


def test_a_file_that_is_written_without_a_lock_of_its_folder_stays(project: Project) -> None:
    """A trie is built again in the folder of a code set, which another run may use at the same time."""
    with atomic_path(project.layout.runs / "codebook-1" / "trie.safetensors") as temporary:
        ingest(project)
        assert temporary.exists()


def test_nothing_is_removed_while_a_forget_rewrites_files(project: Project) -> None:
    expected = leave(project)
    with run_lock(project.layout.generations):
        ingest(project)
    assert left(project) == expected


def test_an_open_warehouse_keeps_its_temporary_files(project: Project) -> None:
    spilled = ("warehouse.duckdb.tmp/duckdb_temp_storage-0.tmp",)
    leave(project, spilled)
    with project.store.read() as connection:
        connection.execute(sa.text("SELECT 1"))
        project.features_apply()
        assert left(project, spilled) == set(spilled)
    project.features_apply()
    assert left(project, spilled) == set()


def test_the_rows_of_a_query_are_locked_before_another_command_can_see_them(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(tmp_path / "source.db") as connection:
        connection.execute("CREATE TABLE event AS SELECT 'a' AS user_id, 'i1' AS item_id, 1 AS source_position")
    seen = []

    def cleaned_meanwhile(*arguments: object) -> object:
        project.features_apply()
        seen.extend(project.layout.data.glob(".rows-*"))
        return spool(*arguments)  # type: ignore[arg-type]

    spool = sql_source._spool
    monkeypatch.setattr(sql_source, "_spool", cleaned_meanwhile)
    query = ("--from-sql", f"sqlite:///{tmp_path / 'source.db'}", "SELECT * FROM event")
    result = CliRunner().invoke(
        cli, ["--project", str(project.layout.root), "ingest", "interactions", "--json", *query]
    )
    assert json.loads(result.stdout)["added"] == 1
    assert len(seen) == 1
    assert not seen[0].exists()


def test_forget_waits_for_a_process_whose_files_it_would_have_to_remove(project: Project) -> None:
    leave(project, (".rows-abc/part-000000.parquet",))
    with run_lock(project.layout.data / ".rows-abc"), pytest.raises(LockedError):
        project.forget([ERASED])


def test_forget_removes_unfinished_files_outside_data(project: Project) -> None:
    root = project.layout.root
    names = (".rejected.jsonl.0123456789abcdef.tmp", "out/.prompts.jsonl.0123456789abcdef.tmp", ".mine.tmp")
    (root / "out").mkdir()
    for name in names:
        (root / name).write_text(ERASED)
    with atomic_path(root / "out" / "living.jsonl") as living:
        project.forget([ERASED])
        assert living.exists()
    assert [name for name in names if (root / name).exists()] == [".mine.tmp"]  # not one of our names


# Errors of runs


def stored_errors(project: Project) -> list[str]:
    with project.store.read() as connection:
        return [error for (error,) in connection.exec_driver_sql("SELECT error FROM run WHERE error IS NOT NULL").all()]


def test_a_refused_load_stores_no_id(project: Project, tmp_path: Path) -> None:
    lists_of = {f"secret-{number}": items for number, items in enumerate(lists().values())}
    pq.write_table(recommendation_rows(lists_of), tmp_path / "part.parquet")
    words = ["--project", str(project.layout.root), "recommend", "load", str(tmp_path / "part.parquet")]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 4
    assert "secret-0" in result.stderr
    (error,) = stored_errors(project)
    assert error.startswith("an input file, or a file of an earlier run, is missing or invalid")
    assert traces(project, "secret-") == set()


def test_errors_that_an_earlier_version_stored_are_erased(project: Project) -> None:
    with project.store.write() as connection:
        connection.execute(
            sa.text("UPDATE run SET status = 'failed', error = :error WHERE run_id = 'text-1'"),
            {"error": f"user {ERASED} has 2 lists"},
        )
    project.forget([ERASED])
    assert stored_errors(project) == ["removed by `semconv forget`"]
    assert traces(project) == set()


# Checksums


def kill_in(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    def killed(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(target, killed)


@pytest.mark.parametrize(
    "target", ["semconv.runs.digests.settle_checksums", "semconv_warehouse.erase.files.pq.write_table"]
)
def test_a_killed_forget_blesses_no_damaged_file(project: Project, target: str) -> None:
    folder = project.layout.runs / "recommend-1"
    damaged = project.layout.runs / "embed-1" / "vectors.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.MonkeyPatch.context() as patch:
        kill_in(patch, target)
        with pytest.raises(KeyboardInterrupt):
            project.forget([ERASED])
    assert damaged_files(folder) == []  # the old content or the new one, and both are known
    project = Project.open(project.layout.root)
    project.forget([ERASED])
    assert damaged_files(folder) == []
    assert damaged_files(damaged.parent) == ["vectors.safetensors"]
    assert "replacing" not in json.loads((folder / "complete.json").read_text())
    assert traces(project) == set()


def test_a_file_that_was_damaged_between_two_attempts_stays_damaged(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project.layout.runs / "finetune-1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forgetting, "_erase_from_generations", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            project.forget([ERASED])
    path = folder / "tuned_on.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    project.forget([ERASED])
    assert damaged_files(folder) == ["tuned_on.safetensors"]


@pytest.mark.parametrize(
    "name",
    ["runs/recommend-1/part-00000.parquet", "features/user_top_k/000001.parquet", "runs/embed-1/vectors.safetensors"],
)
def test_a_file_that_cannot_be_read_is_named_and_everything_else_is_erased(project: Project, name: str) -> None:
    path = project.layout.data / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + ERASED.encode())
    with pytest.raises(InputError, match=f"erased from everything but this file: {path}"):
        project.forget([ERASED])
    assert traces_of_readable(project, path) == set()
    assert forgetting.is_unfinished(project.layout)
    path.unlink()
    Project.open(project.layout.root).forget([ERASED])
    assert traces(project) == set()
    assert not forgetting.is_unfinished(project.layout)


def traces_of_readable(project: Project, damaged: Path) -> set[str]:
    kept = damaged.read_bytes()
    damaged.unlink()
    found = traces(project) - {"forgetting.json"}
    damaged.write_bytes(kept)
    return found


# Online store


def test_the_default_store_is_emptied_after_another_one_was_chosen(project: Project, tmp_path: Path) -> None:
    layout = project.layout
    yaml = layout.feature_repo / "feature_store.yaml"
    default = layout.data / "online_store.db"
    yaml.write_text(yaml.read_text().replace("../data/online_store.db", str(tmp_path / "other.db")))
    online.materialize(layout, project.store)
    assert ERASED.encode() in default.read_bytes()
    assert ERASED.encode() in (tmp_path / "other.db").read_bytes()
    project.forget([ERASED])
    assert ERASED.encode() not in default.read_bytes()
    assert ERASED.encode() not in (tmp_path / "other.db").read_bytes()


def test_rows_of_a_view_that_is_gone_are_deleted(project: Project) -> None:
    with sqlite3.connect(project.layout.data / "online_store.db") as connection:
        (table,) = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name.endswith("user_top_k")
        ]
        connection.execute(f'CREATE TABLE old_view AS SELECT * FROM "{table}"')
    project.forget([ERASED])
    assert traces(project) == set()


def test_experiments_lose_their_spilled_rows(project: Project) -> None:
    path = project.layout.experiments.warehouse
    path.parent.mkdir(parents=True)
    with open_database(path, read_only=False):
        pass
    spilled = ("experiments/data/warehouse.duckdb.tmp/duckdb_temp_storage-0.tmp",)
    leave(project, spilled)
    project.features_apply()
    assert left(project, spilled) == set()
