"""Forgetting people: no trace under data/, everybody else as before, and a kill anywhere is only a delay."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from semconv.artifacts import read_arrays, read_json, run_lock, write_arrays, write_json
from semconv.errors import InputError, LockedError
from semconv.runs.digests import damaged_files, say_complete
from semconv_cli.main import cli
from semconv_warehouse.features import online, repository
from semconv_warehouse.project import Project
from semconv_warehouse.publish.publishing import publish, rollback
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds import published as case
from tests.worlds.places import WORLDS

# Dies the hard way when the named step of a forget is reached.
_KILLED = """
import os, signal, sys
from pathlib import Path
from semconv_warehouse.erase import forgetting
from semconv_warehouse.project import Project

setattr(forgetting, sys.argv[2], lambda *arguments, **named: os.kill(os.getpid(), signal.SIGKILL))
Project.open(Path(sys.argv[1])).forget([sys.argv[3]])
"""


def person(number: int) -> str:
    return f"person-{number}@example.org"


GONE = person(3)
RUNS = ("embed-1", "finetune-1", "recommend-1")  # with files that hold people


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generations of four people, the first of them served again, materialized; arrays by user_index as runs leave them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(case, "user", person)
        layout, store = case.make_project(tmp_path_factory.mktemp("template") / "project")
        repository.create_feature_repo(layout)
        publish(layout, store, "recommend-1")
        online.materialize(layout, store)
        case.add_recommend_run(store, "recommend-2", case.lists(1))
        publish(layout, store, "recommend-2")
        rollback(layout, store)
        online.materialize(layout, store)
        folder = layout.runs / "embed-1"
        pq.write_table(case.user_vectors("embed-1"), folder / "table-user_embedding.parquet")
    vectors = {"user_index": np.arange(4, dtype=np.int32), "user_vectors": np.ones((4, 2), np.float32)}
    write_arrays(folder / "vectors.safetensors", {**vectors, "item_index": np.arange(8, dtype=np.int32)})
    tuned = {
        "offsets": np.array([0, 1, 3, 6, 10]),
        "items": np.arange(10, dtype=np.int32),
        "times": np.arange(10),
        "has_query": np.zeros(10, bool),
        "text_items": np.arange(3, dtype=np.int32),
    }
    write_arrays(layout.runs / "finetune-1" / "tuned_on.safetensors", tuned)
    states = {"users": np.arange(4, dtype=np.int32), "states": np.arange(5, 9).astype(np.uint64)}
    write_arrays(layout.runs / "recommend-1" / "states.safetensors", states)
    for run in RUNS:
        say_complete(layout.runs / run, tables=[], content={})
    return layout.root


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    shutil.copytree(template, tmp_path / "project")
    layout = ProjectLayout(tmp_path / "project")
    layout.serving.unlink()  # a copy has lost the hard link
    layout.serving.hardlink_to(layout.generation_file(1))
    mark_materialized(layout)
    return Project.open(layout.root)


def mark_materialized(layout: ProjectLayout) -> None:
    """A copy of an online store is another store to the marker of what it holds."""
    path = layout.features / "materialized.json"
    write_json(path, {**read_json(path), "online_store": online._online_store(layout)})


def traces(project: Project, text: str = GONE) -> set[str]:
    """Files under data/ that hold a text: in their bytes, or as a value where values may be compressed."""
    root = project.layout.data
    files = [path for path in root.rglob("*") if path.is_file()]
    found = {path for path in files if text.encode() in path.read_bytes()}
    found |= {path for path in files if path.suffix == ".parquet" and text in str(pq.read_table(path).to_pylist())}
    found |= {path for path in files if path.suffix == ".duckdb" and text in str(values(path))}
    return {str(path.relative_to(root)) for path in found}


def values(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of a DuckDB file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        ]
        return {table: connection.execute(f'FROM "{table}"').fetchall() for table in tables}


def without(rows: dict[str, list[tuple[Any, ...]]], text: str = GONE) -> dict[str, list[tuple[Any, ...]]]:
    return {table: [row for row in found if text not in row] for table, found in rows.items()}


def content(project: Project) -> dict[str, bytes]:
    files = [path for path in project.layout.data.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(project.layout.data)): path.read_bytes() for path in files}


def test_no_trace_is_left_and_everybody_else_is_as_before(project: Project) -> None:
    layout = project.layout
    assert {"warehouse.duckdb", "serving.duckdb", "generations/000002.duckdb", "online_store.db"} <= traces(project)
    assert {"runs/recommend-1/part-00000.parquet", "features/user_top_k/000003.parquet"} <= traces(project)
    served, kept = values(layout.serving), values(layout.generation_file(2))
    others = online.get_features(layout, user=person(1))
    result = project.forget([GONE])
    assert traces(project) == set()
    assert (values(layout.serving), values(layout.generation_file(2))) == (without(served), without(kept))
    assert online.get_features(layout, user=person(1)) == others
    assert result["rows"] == {
        "interaction": 4,
        "user_embedding": 1,
        "user_account": 1,
        "features": 6,  # two views of three publications
        "runs": 7,  # three rows of two runs' lists, one of a run's table
        "arrays": 6,  # one vector, four samples, one state
        "generations": 16,  # three of a list, four of a history, one vector, twice
        "online store": 1,
    }
    assert all(check.passed for check in project.check())
    assert [damaged_files(layout.runs / run) for run in RUNS] == [[], [], []]  # the runs take them for their own


def test_published_files_stay_what_they_were(project: Project) -> None:
    layout = project.layout
    project.forget([GONE])
    assert layout.serving.samefile(layout.generation_file(1))
    assert {path.stat().st_mode & 0o777 for path in layout.generations.glob("*.duckdb")} == {0o444}
    with duckdb.connect(str(layout.serving), read_only=True) as connection:
        assert len(connection.execute("FROM similar_item('i1', 3)").fetchall()) == 3
        assert connection.execute("SELECT count(*) FROM current_recommendation").fetchone() == (9,)
        assert connection.execute("SELECT typeof(vector) FROM user_embedding LIMIT 1").fetchone() == ("FLOAT[2]",)
    assert [row["generation"] for row in project.generations() if row["is_served"]] == [1]


def test_the_place_stays_and_says_nothing(project: Project) -> None:
    project.forget([GONE, person(1)])
    with project.store.read() as connection:
        accounts = connection.exec_driver_sql("SELECT user_index, user_id FROM user_account ORDER BY 1").all()
        constraints = connection.exec_driver_sql(
            "SELECT count(*) FROM duckdb_constraints() WHERE table_name = 'user_account' AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')"
        ).scalar_one()
    assert list(accounts) == [(0, person(0)), (1, "forgotten-1"), (2, person(2)), (3, "forgotten-3")]
    assert constraints == 2
    sequences = project.store.sequences()
    assert sequences.lengths.tolist() == [1, 0, 3, 0]


def test_arrays_by_index_lose_the_user_and_nobody_else_moves(project: Project) -> None:
    project.forget([person(1)])
    vectors = read_arrays(project.layout.runs / "embed-1" / "vectors.safetensors")
    assert vectors["user_index"].tolist() == [0, 2, 3]
    assert (vectors["user_vectors"].shape, vectors["item_index"].shape) == ((3, 2), (8,))
    tuned = read_arrays(project.layout.runs / "finetune-1" / "tuned_on.safetensors")
    assert tuned["offsets"].tolist() == [0, 1, 1, 4, 8]
    assert tuned["items"].tolist() == [0, 3, 4, 5, 6, 7, 8, 9]
    assert tuned["text_items"].tolist() == [0, 1, 2]
    states = read_arrays(project.layout.runs / "recommend-1" / "states.safetensors")
    assert (states["users"].tolist(), states["states"].tolist()) == ([0, 1, 2, 3], [5, 0, 7, 8])


def test_online_the_user_is_unknown_and_stays_so(project: Project) -> None:
    layout, store = project.layout, project.store
    project.forget([GONE])
    with pytest.raises(InputError, match="has no features in the online store"):
        online.get_features(layout, user=GONE)
    assert online.status(layout, store)["is_current"]
    with sqlite3.connect(layout.data / "online_store.db") as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        keys = {bytes(key) for table in tables for (key,) in connection.execute(f'SELECT entity_key FROM "{table}"')}
    assert len(keys) == 9 + 3  # items with a code, and the other people
    case.add_recommend_run(store, "recommend-3", {person(0): ["i5"]})
    publish(layout, store, "recommend-3")
    online.materialize(layout, store)
    assert traces(project) == set()
    assert online.get_features(layout, user=person(0))["user_top_k"]["item_ids"] == ["i5"]


def test_a_dry_run_counts_the_same_and_changes_nothing(project: Project) -> None:
    before = content(project)
    planned = project.forget([GONE], dry_run=True)
    assert content(project) == before
    assert project.forget([GONE]) == {**planned, "dry_run": False}


@pytest.mark.parametrize(
    "step", ["_forget_files", "generation_without", "replace_serving", "_forget_features", "compact"]
)
def test_a_kill_anywhere_is_finished_by_the_same_command(project: Project, step: str) -> None:
    arguments = [sys.executable, "-c", _KILLED, str(project.layout.root), step, GONE]
    killed = subprocess.run(arguments, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert traces(project)
    project = Project.open(project.layout.root)
    assert [row["ok"] for row in project.doctor() if row["check"] == "forget"] == [False]
    result = CliRunner().invoke(
        cli, ["--project", str(project.layout.root), "forget", "--user", GONE, "--yes", "--json"]
    )
    assert result.exit_code == 0, result.stderr
    assert traces(project) == set()
    assert project.layout.serving.samefile(project.layout.generation_file(1))
    assert [damaged_files(project.layout.runs / run) for run in RUNS] == [[], [], []]
    assert not [row for row in project.doctor() if row["check"] == "forget"]
    assert all(check.passed for check in project.check())
    with pytest.raises(InputError, match="nobody to forget"):
        project.forget([GONE])


@pytest.mark.parametrize("folder", ["runs/recommend-2", "generations", "features"])
def test_who_may_hold_the_user_in_memory_is_waited_for(project: Project, folder: str) -> None:
    before = content(project)
    with run_lock(project.layout.data / folder), pytest.raises(LockedError):
        project.forget([GONE])
    assert content(project) == before


def test_somebody_who_is_ingested_again_is_forgotten_again(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "again.jsonl"
    file.write_text(json.dumps({"user_id": GONE, "item_id": "i1"}) + "\n")
    with project.store.write() as connection:  # somebody is called as the forgotten are
        connection.exec_driver_sql("INSERT INTO user_account VALUES ('forgotten-5', 4, NULL)")
        connection.exec_driver_sql("INSERT INTO project_setting VALUES ('order_by', 'file')")
    project.forget([GONE])
    project.ingest_interactions([file], {}, order_by_file=True)
    project.forget([GONE])
    assert traces(project) == set()
    with project.store.read() as connection:
        names = connection.exec_driver_sql("SELECT user_id FROM user_account ORDER BY user_index").scalars().all()
    assert names[3:5] == ["forgotten-3", "forgotten-5"]
    assert names[5].startswith("forgotten-5-")


def test_experiments_forget_too(project: Project) -> None:
    inner = ProjectLayout(project.layout.data / "experiments")
    shutil.copytree(project.layout.root, inner.root, ignore=shutil.ignore_patterns("experiments", "*.db"))
    project.forget([GONE])
    assert not {name for name in traces(project) if name.endswith("warehouse.duckdb") or name.endswith(".parquet")}


def test_another_online_store_is_emptied_and_that_is_said(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(WORLDS))
    shutil.copytree(template, tmp_path / "project")
    project = Project.open(tmp_path / "project")
    yaml = project.layout.feature_repo / "feature_store.yaml"
    yaml.write_text(yaml.read_text().replace("type: sqlite", "type: renamed_store.RenamedSqliteOnlineStore"))
    online.materialize(project.layout, project.store)
    assert online.get_features(project.layout, user=GONE)["user_top_k"]["item_ids"] is not None
    remarks = project.forget([GONE])["remarks"]
    assert any("RenamedSqliteOnlineStore" in remark and "keys stay" in remark for remark in remarks)
    with pytest.raises(InputError, match="has no features in the online store"):
        online.get_features(project.layout, user=GONE)
    assert online.get_features(project.layout, user=person(1))["user_top_k"]["item_ids"] is not None


def invoke(project: Project, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--project", str(project.layout.root), "forget", *args])
    assert result.exit_code == code, result.stderr
    return result


def test_the_command_says_what_a_model_keeps(project: Project, tmp_path: Path) -> None:
    (project.layout.runs / "finetune-1").mkdir(exist_ok=True)
    file = tmp_path / "whom.txt"
    file.write_text(f"{GONE}\nnobody\n")
    result = invoke(project, "--users", str(file), "--user", person(0), "--yes")
    assert "interaction" in result.stdout
    assert "1 ids are unknown: nobody" in result.stderr
    assert "trained models keep what they learned" in result.stderr
    assert "finetune-1" in result.stderr
    assert "files of rejected rows" in result.stderr
    assert traces(project) | traces(project, person(0)) == set()


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (("--user", "nobody", "--yes"), 4, "nobody to forget"),
        ((), 2, "--user or --users"),
        (("--user", GONE), 2, "--yes"),
        (("--users", "no-such-file", "--yes"), 4, "no-such-file"),
    ],
)
def test_refusals_change_nothing(project: Project, args: tuple[str, ...], code: int, part: str) -> None:
    before = content(project)
    result = invoke(project, *args, code=code)
    assert part in result.stderr
    assert result.stderr.count("\n") == 1
    assert content(project) == before
