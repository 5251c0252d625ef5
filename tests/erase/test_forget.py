"""Forgetting users: no trace under data/ is left, other users keep everything, and a kill anywhere can be resumed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from semconv.artifacts import read_arrays
from semconv.errors import InputError, LockedError
from semconv.locks import run_lock
from semconv.runs.digests import damaged_files
from semconv.runs.files import BEHAVIOR_VECTORS, LIST_STATES, TUNED_ON
from semconv_cli.main import cli
from semconv_warehouse.features import online
from semconv_warehouse.project import Project
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds import published as case
from tests.worlds.command import KILLED, Commands
from tests.worlds.erasing import (
    ERASED,
    content,
    copied,
    person,
    run_folders,
    template,
    traces,
    values,
    without,
)
from tests.worlds.paths import WORLDS
from tests.worlds.reading import reading

# Kills its own process when the named step of a forget begins.
_KILLED = """
import os, signal, sys
from pathlib import Path
from semconv_warehouse.erase import forgetting
from semconv_warehouse.project import Project

setattr(forgetting, sys.argv[2], lambda *arguments, **named: os.kill(os.getpid(), signal.SIGKILL))
Project.open(Path(sys.argv[1])).forget([sys.argv[3]])
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return copied(template(), tmp_path / "project")


def test_no_trace_is_left_and_other_users_keep_everything(project: Project) -> None:
    layout = project.layout
    assert {"warehouse.duckdb", "serving.duckdb", "generations/000002.duckdb", "online_store.db"} <= traces(project)
    assert {"runs/recommend-1/part-00000.parquet", "features/user_top_k/000003.parquet"} <= traces(project)
    served, kept = values(layout.serving), values(layout.generation_file(2))
    others = online.get_features(layout, user=person(1))
    result = project.forget([ERASED])
    assert traces(project) == set()
    assert (values(layout.serving), values(layout.generation_file(2))) == (without(served), without(kept))
    assert online.get_features(layout, user=person(1)) == others
    assert result["rows"] == {
        "interaction": 4,
        "user_embedding": 1,
        "user_account": 1,
        "user_profile": 0,
        "features": 6,  # two views of three publications
        "runs": 7,  # three rows in the lists of each of two runs, one in a table of a run
        "arrays": 6,  # one vector, four samples, one state
        "generations": 16,  # in each of two files: three of a list, four of a history, one vector
        "online store": 1,
    }
    assert all(check.passed for check in project.check())
    assert [damaged_files(folder) for folder in run_folders(project)] == [[], [], []]


def test_published_files_keep_their_link_their_mode_and_their_views(project: Project) -> None:
    layout = project.layout
    project.forget([ERASED])
    assert layout.serving.samefile(layout.generation_file(1))
    assert {path.stat().st_mode & 0o777 for path in layout.generations.glob("*.duckdb")} == {0o444}
    with reading(layout.serving) as connection:
        assert len(connection.execute("FROM similar_item('i1', 3)").fetchall()) == 3
        assert connection.execute("SELECT count(*) FROM current_recommendation").fetchone() == (9,)
        assert connection.execute("SELECT typeof(vector) FROM user_embedding LIMIT 1").fetchone() == ("FLOAT[2]",)
    assert [row["generation"] for row in project.generations() if row["is_served"]] == [1]


def test_an_erased_user_keeps_the_index_under_a_name_that_tells_nothing(project: Project) -> None:
    project.forget([ERASED, person(1)])
    with project.store.read() as connection:
        accounts = connection.exec_driver_sql("SELECT user_index, user_id FROM user_account ORDER BY 1").all()
        constraints = connection.exec_driver_sql(
            "SELECT count(*) FROM duckdb_constraints() WHERE table_name = 'user_account' AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')"
        ).scalar_one()
    assert list(accounts) == [(0, person(0)), (1, "forgotten-1"), (2, person(2)), (3, "forgotten-3")]
    assert constraints == 2
    sequences = project.store.sequences()
    assert sequences.lengths.tolist() == [1, 0, 3, 0]


def test_arrays_lose_the_user_and_keep_the_index_of_everybody_else(project: Project) -> None:
    project.forget([person(1)])
    vectors = read_arrays(project.layout.runs / "embed-1" / BEHAVIOR_VECTORS)
    assert vectors["user_index"].tolist() == [0, 2, 3]
    assert (vectors["user_vectors"].shape, vectors["item_index"].shape) == ((3, 2), (8,))
    tuned = read_arrays(project.layout.runs / "finetune-1" / TUNED_ON)
    assert tuned["offsets"].tolist() == [0, 1, 1, 4, 8]
    assert tuned["items"].tolist() == [0, 3, 4, 5, 6, 7, 8, 9]
    assert tuned["text_items"].tolist() == [0, 1, 2]
    states = read_arrays(project.layout.runs / "recommend-1" / LIST_STATES)
    assert (states["users"].tolist(), states["states"].tolist()) == ([0, 1, 2, 3], [5, 0, 7, 8])


@pytest.mark.parametrize("user_id", [ERASED, "o'neill", 'say "hi"', "zoë"])
def test_a_condition_that_quotes_the_user_loses_the_id(project: Project, user_id: str) -> None:
    condition = f"title <> {quoted(user_id)} AND title <> 'other'"
    with project.store.write() as connection:
        connection.exec_driver_sql("UPDATE user_account SET user_id = ? WHERE user_id = ?", (user_id, ERASED))
        connection.exec_driver_sql("UPDATE interaction SET user_id = ? WHERE user_id = ?", (user_id, ERASED))
        settings = json.dumps({"recommend": {"where": condition}})
        connection.exec_driver_sql("UPDATE run SET settings = ?", (settings,))
        connection.exec_driver_sql("UPDATE metric SET protocol = ?", (json.dumps({"where": condition}),))
    project.forget([user_id])
    with project.store.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT DISTINCT settings->'recommend'->>'where' FROM run"
            " UNION ALL SELECT DISTINCT protocol->>'where' FROM metric"
        ).all()
    assert {where for (where,) in rows} == {"title <> '' AND title <> 'other'"}


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def test_a_training_state_with_a_row_for_each_user_is_deleted(project: Project) -> None:
    state = project.layout.runs / "embed-1" / "dccf.safetensors"
    state.write_bytes(b"rows of users")
    assert project.forget([ERASED], dry_run=True)["rows"]["training states"] == 1
    assert state.exists()
    assert project.forget([ERASED])["rows"]["training states"] == 1
    assert not state.exists()


def test_files_that_killed_jobs_left_are_deleted(project: Project) -> None:
    for folder in ("runs/recommend-2", "features/user_top_k", "generations"):
        (project.layout.data / folder / ".x.duckdb.4711.tmp").write_text(ERASED)
    (project.layout.data / ".warehouse.duckdb.4711.tmp").write_text(ERASED)
    project.forget([ERASED])
    assert traces(project) == set()


def test_the_online_store_no_longer_knows_the_user(project: Project) -> None:
    layout, store = project.layout, project.store
    project.forget([ERASED])
    with pytest.raises(InputError, match="has no features in the online store"):
        online.get_features(layout, user=ERASED)
    assert online.status(layout, store)["is_current"]
    with sqlite3.connect(layout.data / "online_store.db") as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        keys = {bytes(key) for table in tables for (key,) in connection.execute(f'SELECT entity_key FROM "{table}"')}
    assert len(keys) == 9 + 3  # items with codes, and the other users
    case.add_recommend_run(store, "recommend-3", {person(0): ["i5"]})
    publish(layout, store, "recommend-3")
    online.materialize(layout, store)
    assert traces(project) == set()
    assert online.get_features(layout, user=person(0))["user_top_k"]["item_ids"] == ["i5"]


def test_a_dry_run_counts_the_same_and_changes_nothing(project: Project) -> None:
    before = content(project)
    planned = project.forget([ERASED], dry_run=True)
    assert content(project) == before
    assert project.forget([ERASED]) == {**planned, "dry_run": False}


@pytest.mark.parametrize(
    "step",
    [
        "_erase_from_files",
        "replace_serving",
        "compact",
        pytest.param("erase_from_generation", marks=pytest.mark.slow),
        pytest.param("_erase_from_online_store", marks=pytest.mark.slow),
    ],
)
def test_a_kill_anywhere_is_finished_by_the_same_command(commands: Commands, project: Project, step: str) -> None:
    killed = commands.program(_KILLED, project.layout.root, step, ERASED)
    assert killed.status == KILLED, killed.stderr
    assert traces(project)
    project = Project.open(project.layout.root)
    assert [row["ok"] for row in project.doctor() if row["check"] == "forget"] == [False]
    result = CliRunner().invoke(
        cli, ["--project", str(project.layout.root), "forget", "--user", ERASED, "--yes", "--json"]
    )
    assert result.exit_code == 0, result.stderr
    assert traces(project) == set()
    assert project.layout.serving.samefile(project.layout.generation_file(1))
    assert [damaged_files(folder) for folder in run_folders(project)] == [[], [], []]
    assert not [row for row in project.doctor() if row["check"] == "forget"]
    assert all(check.passed for check in project.check())
    with pytest.raises(InputError, match="nobody to forget"):
        project.forget([ERASED])


def test_lists_of_a_user_whose_erasure_was_killed_are_not_published(commands: Commands, project: Project) -> None:
    layout, store = project.layout, project.store
    case.add_recommend_run(store, "recommend-3", {ERASED: ["i5"], person(0): ["i5"]})
    assert commands.program(_KILLED, layout.root, "_erase_from_files", ERASED).status == KILLED
    before = layout.serving.stat().st_ino
    with pytest.raises(InputError, match=r"a `semconv forget` was killed .* run the same command again first") as error:
        publish(layout, store, "recommend-3")
    assert ERASED not in str(error.value)
    assert layout.serving.stat().st_ino == before
    project.forget([ERASED])
    publish(layout, store, "recommend-3")
    assert traces(project) == set()


@pytest.mark.parametrize("folder", ["runs/recommend-2", "generations", "features"])
def test_a_job_that_may_have_read_the_user_stops_the_command(project: Project, folder: str) -> None:
    before = content(project)
    with run_lock(project.layout.data / folder), pytest.raises(LockedError):
        project.forget([ERASED])
    assert content(project) == before


def test_an_erased_user_who_is_ingested_again_can_be_erased_again(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "again.jsonl"
    file.write_text(json.dumps({"user_id": ERASED, "item_id": "i1"}) + "\n")
    with project.store.write() as connection:  # a user whose own id looks like that of an erased one
        connection.exec_driver_sql("INSERT INTO user_account VALUES ('forgotten-5', 4, NULL)")
        connection.exec_driver_sql("INSERT INTO project_setting VALUES ('order_by', 'file')")
    project.forget([ERASED])
    project.ingest_interactions([file], {}, order_by_file=True)
    project.forget([ERASED])
    assert traces(project) == set()
    with project.store.read() as connection:
        names = connection.exec_driver_sql("SELECT user_id FROM user_account ORDER BY user_index").scalars().all()
    assert names[3:5] == ["forgotten-3", "forgotten-5"]
    assert names[5].startswith("forgotten-5-")


def test_experiments_lose_the_user_too(project: Project) -> None:
    inner = ProjectLayout(project.layout.data / "experiments")
    shutil.copytree(project.layout.root, inner.root, ignore=shutil.ignore_patterns("experiments", "*.db"))
    project.forget([ERASED])
    assert not {name for name in traces(project) if name.endswith("warehouse.duckdb") or name.endswith(".parquet")}
    assert read_arrays(inner.runs / "embed-1" / BEHAVIOR_VECTORS)["user_index"].tolist() == [0, 1, 2]


def test_features_in_another_online_store_are_emptied_and_a_remark_names_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(WORLDS / "features"))
    shutil.copytree(template(), tmp_path / "project")
    project = Project.open(tmp_path / "project")
    yaml = project.layout.feature_repo / "feature_store.yaml"
    yaml.write_text(yaml.read_text().replace("type: sqlite", "type: renamed_store.RenamedSqliteOnlineStore"))
    online.materialize(project.layout, project.store)
    assert online.get_features(project.layout, user=ERASED)["user_top_k"]["item_ids"] is not None
    remarks = project.forget([ERASED])["remarks"]
    assert any("RenamedSqliteOnlineStore" in remark and "user ids stay in it" in remark for remark in remarks)
    with pytest.raises(InputError, match="has no features in the online store"):
        online.get_features(project.layout, user=ERASED)
    assert online.get_features(project.layout, user=person(1))["user_top_k"]["item_ids"] is not None


def invoke(project: Project, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--project", str(project.layout.root), "forget", *args])
    assert result.exit_code == code, result.stderr
    return result


def test_the_command_prints_counts_unknown_ids_and_traces_that_stay(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "users.txt"
    file.write_text(f"{ERASED}\nnobody\n")
    result = invoke(project, "--users", str(file), "--user", person(0), "--yes")
    assert "interaction" in result.stdout
    assert "1 ids are unknown: nobody" in result.stderr
    assert "these users' interactions were used to compute them" in result.stderr
    assert "finetune-1" in result.stderr
    assert "files of rejected rows" in result.stderr
    assert traces(project) | traces(project, person(0)) == set()


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (("--user", "nobody", "--yes"), 4, "nobody to forget"),
        ((), 2, "--user or --users"),
        (("--user", ERASED), 2, "--yes"),
        (("--users", "no-such-file", "--yes"), 4, "no-such-file"),
    ],
)
def test_refusals_change_nothing(project: Project, args: tuple[str, ...], code: int, part: str) -> None:
    before = content(project)
    result = invoke(project, *args, code=code)
    assert part in result.stderr
    assert result.stderr.count("\n") == 1
    assert content(project) == before
