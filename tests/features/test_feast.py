"""Features that Feast serves after a publish, a rollback, a dropped id or a kill; with real Feast, SQLite and Parquet."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from semconv.errors import InputError, LockedError, SettingsError
from semconv.locks import run_lock
from semconv_warehouse.features import online, repository
from semconv_warehouse.features.export import VIEWS, export_features, feature_file
from semconv_warehouse.publish.publications import publications
from semconv_warehouse.publish.publishing import publish, rollback
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout, package_folder
from tests.worlds.published import (
    Project,
    add_recommend_run,
    copy_project,
    make_project,
    user,
)


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    return copy_project(template, tmp_path / "project")


def exported(layout: ProjectLayout, view: str, publication: int) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        file = str(feature_file(layout, view, publication))
        return connection.execute(
            "SELECT * EXCLUDE (event_timestamp) FROM read_parquet(?) ORDER BY ALL", [file]
        ).fetchall()


def test_one_file_per_view_and_publication(project: Project) -> None:
    layout, store = project
    assert export_features(layout, store) == [1]
    assert export_features(layout, store) == []
    assert {view: len(exported(layout, view, 1)) for view in VIEWS} == {
        "item_embedding": 8,
        "item_code": 9,
        "user_embedding": 4,
        "user_top_k": 4,
        "user_profile": 0,
    }
    assert exported(layout, "user_top_k", 1)[1] == ("u1", ["i2", "i3", "i4"], [-1.0, -2.0, -3.0], 1)
    assert exported(layout, "item_code", 1)[5] == ("i5", [1, 1], "<a_1><b_1>", 1)


def test_a_dropped_id_gets_one_row_of_nulls(project: Project) -> None:
    layout, store = project
    publish(layout, store, "recommend-2")
    add_recommend_run(store, "recommend-3", {user(0): ["i5"]})
    publish(layout, store, "recommend-3")
    assert export_features(layout, store) == [1, 2, 3]
    assert exported(layout, "user_top_k", 2)[3] == ("u3", None, None, None)
    assert [row[0] for row in exported(layout, "user_top_k", 3) if row[3] is None] == ["u1", "u2"]
    assert [row[0] for row in exported(layout, "item_code", 2) if row[3] is None] == ["i7", "i8"]


def test_event_timestamps_are_those_of_the_publications(project: Project) -> None:
    layout, store = project
    publish(layout, store, "recommend-2")
    rollback(layout, store)
    export_features(layout, store)
    for publication in publications(store):
        with duckdb.connect() as connection:
            file = str(feature_file(layout, "item_code", publication.publication))
            times = connection.execute("SELECT DISTINCT event_timestamp FROM read_parquet(?)", [file]).fetchall()
        assert times == [(publication.published_at.replace(tzinfo=None),)]


def test_files_of_an_earlier_warehouse_are_written_again(project: Project) -> None:
    layout, store = project
    export_features(layout, store)
    publish(layout, store, "recommend-2")
    export_features(layout, store)
    with store.write() as connection:  # publications are counted from 1 again, at a later time
        connection.exec_driver_sql("DELETE FROM publication")
        connection.exec_driver_sql("INSERT INTO publication VALUES (1, 2, TIMESTAMP '2100-01-01 00:00:00')")
    assert online.status(layout, store)["publications_behind"] == 1
    assert export_features(layout, store) == [1]
    assert exported(layout, "user_top_k", 1)[0] == ("u0", ["i2", "i3", "i4"], [-1.0, -2.0, -3.0], 2)
    assert export_features(layout, store) == []


def test_a_pruned_generation_is_left_out(project: Project) -> None:
    layout, store = project
    publish(layout, store, "recommend-2")
    layout.generation_file(1).unlink()
    assert export_features(layout, store) == [2]
    assert exported(layout, "user_top_k", 2)[0][0] == "u0"


def test_apply_is_repeatable_and_removes_deleted_definitions(project: Project) -> None:
    layout, _ = project
    names = {
        "entities": ["item", "user"],
        "feature_views": ["item_code", "item_embedding", "user_embedding", "user_profile", "user_top_k"],
        "feature_services": ["item_v1", "user_v1"],
    }
    assert repository.apply(layout) == names
    assert repository.apply(layout) == names
    definitions = layout.feature_repo / "definitions.py"
    definitions.write_text(
        definitions.read_text().replace(
            'user_v1 = FeatureService(name="user_v1", features=[user_embedding, user_top_k])', ""
        )
    )
    names["feature_services"] = ["item_v1"]
    assert repository.apply(layout) == names
    from feast import FeatureStore

    assert [service.name for service in FeatureStore(repo_path=str(layout.feature_repo)).list_feature_services()] == [
        "item_v1"
    ]


def test_status_counts_the_publications_that_are_not_online(project: Project) -> None:
    layout, store = project
    before = online.status(layout, store)
    assert (before["materialized"], before["publications_behind"], before["is_current"]) == (None, 1, False)
    online.materialize(layout, store)
    publish(layout, store, "recommend-2")
    after = online.status(layout, store)
    assert (after["published"]["generation"], after["materialized"]["generation"], after["publications_behind"]) == (
        2,
        1,
        1,
    )
    json.dumps(after)


def test_a_lost_online_store_is_filled_again(project: Project) -> None:
    layout, store = project
    online.materialize(layout, store)
    (layout.data / "online_store.db").unlink()
    assert not online.status(layout, store)["is_current"]
    online.materialize(layout, store)
    assert online.get_features(layout, user="u1")["user_top_k"]["generation"] == 1


def test_a_moved_project_reads_its_own_files(project: Project, tmp_path: Path) -> None:
    layout, store = project
    online.materialize(layout, store)
    moved = ProjectLayout(tmp_path / "moved")
    layout.root.rename(moved.root)
    store = DuckDBStore(moved)
    publish(moved, store, "recommend-2")
    online.materialize(moved, store)
    assert online.get_features(moved, user="u1")["user_top_k"]["generation"] == 2


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
def test_point_in_time_reads_keep_codes_whole_numbers(project: Project) -> None:
    layout, store = project
    online.materialize(layout, store)
    publish(layout, store, "recommend-2")
    online.materialize(layout, store)
    import pandas as pd
    from feast import FeatureStore

    first, second = (entry.published_at for entry in publications(store))
    asked = pd.DataFrame(
        {
            "item_id": ["i8", "i8", "i1"],
            "event_timestamp": [first, second + timedelta(hours=1), first + timedelta(milliseconds=1)],
        }
    )
    feast_store = FeatureStore(repo_path=str(layout.feature_repo))
    answer = feast_store.get_historical_features(
        entity_df=asked, features=["item_code:codes", "item_code:generation"]
    ).to_df()
    codes = {
        (row.item_id, row.event_timestamp.to_pydatetime().astimezone(UTC) >= second): row.codes
        for row in answer.itertuples()
    }
    assert list(codes["i8", False]) == [2, 0]
    assert codes["i8", True] is None or pd.isna(codes["i8", True]).all()
    assert {type(code).__name__ for code in codes["i1", False]} <= {"int32", "int64", "int"}


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
def test_point_in_time_reads_go_over_generations_and_a_rollback(project: Project) -> None:
    layout, store = project
    publish(layout, store, "recommend-2")  # without a list for u3
    rollback(layout, store)
    export_features(layout, store)
    repository.apply(layout)
    import pandas as pd
    from feast import FeatureStore

    times = [entry.published_at for entry in publications(store)]
    asked = pd.DataFrame({"user_id": ["u3"] * 3, "event_timestamp": times})
    answer = FeatureStore(repo_path=str(layout.feature_repo)).get_historical_features(
        entity_df=asked, features=["user_top_k:item_ids", "user_top_k:generation"]
    )
    rows = answer.to_df().sort_values("event_timestamp")
    generations = [None if pd.isna(value) else int(value) for value in rows["generation"]]
    assert generations == [1, None, 1]
    assert [None if value is None else list(value) for value in rows["item_ids"]] == [
        ["i4", "i5", "i6"],
        None,
        ["i4", "i5", "i6"],
    ]


def test_wrong_requests_are_refused(project: Project, tmp_path: Path) -> None:
    layout, store = project
    with pytest.raises(SettingsError, match="give exactly one of user and item"):
        online.get_features(layout)
    with pytest.raises(SettingsError, match="give exactly one of user and item"):
        online.get_features(layout, user="u0", item="i0")
    with pytest.raises(InputError, match="the online store is empty"):
        online.get_features(layout, user="u0")
    online.materialize(layout, store)
    with pytest.raises(InputError, match="user 'nobody' has no features in the online store"):
        online.get_features(layout, user="nobody")
    with run_lock(layout.features), pytest.raises(LockedError):
        online.materialize(layout, store)


def test_nothing_published(tmp_path: Path) -> None:
    layout, store = make_project(tmp_path / "project")
    repository.create_feature_repo(layout)
    with pytest.raises(InputError, match="nothing is published"):
        online.materialize(layout, store)
    assert online.status(layout, store)["published"] is None


def test_a_project_without_definitions(project: Project) -> None:
    layout, _ = project
    shutil.rmtree(layout.feature_repo)
    with pytest.raises(InputError, match="semconv init"):
        repository.apply(layout)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("definitions.py", "import feast\nraise ValueError('first line\\nsecond line')\n"),
        ("feature_store.yaml", "project: [not, a, name]\n"),
    ],
)
def test_wrong_definitions_are_one_line(project: Project, file: str, text: str) -> None:
    layout, _ = project
    (layout.feature_repo / file).write_text(text)
    with pytest.raises(SettingsError, match="feature_repo: Feast failed to") as failure:
        repository.apply(layout)
    assert "\n" not in str(failure.value)


def test_a_users_own_file_stays(tmp_path: Path) -> None:
    layout = ProjectLayout(tmp_path)
    repository.create_feature_repo(layout)
    (layout.feature_repo / "feature_store.yaml").write_text("mine")
    repository.create_feature_repo(layout)
    assert (layout.feature_repo / "feature_store.yaml").read_text() == "mine"
    assert (layout.feature_repo / "definitions.py").read_bytes() == (
        package_folder("feature_repo") / "definitions.py"
    ).read_bytes()
