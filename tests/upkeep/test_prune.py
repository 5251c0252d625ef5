"""What prune removes and keeps, the sizes of runs and generations, and the check of a publication's age."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from semconv.errors import LockedError
from semconv.locks import run_lock
from semconv.runs.digests import write_complete
from semconv_cli.main import cli
from semconv_cli.options import Duration
from semconv_warehouse.features import online, repository
from semconv_warehouse.features.export import VIEWS, export_features, exported_publications
from semconv_warehouse.project import Project
from semconv_warehouse.publish.publications import Publication, publications
from semconv_warehouse.publish.publishing import publish, rollback
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.upkeep import disk
from semconv_warehouse.upkeep.checking import check_age
from tests.worlds import published as case
from tests.worlds.clock import clock_at

START = datetime(2026, 1, 1, tzinfo=UTC)


def nightly(layout: ProjectLayout, store: DuckDBStore, count: int, start: int = 1) -> None:
    """Publish on some days in a row, each time lists of a new recommend run, and export features."""
    for night in range(start, start + count):
        if night > 1:
            case.add_recommend_run(store, f"recommend-{night}", case.lists(), settings={**case.SERVE, "night": night})
        with clock_at(START + timedelta(days=night)):
            publish(layout, store, f"recommend-{night}")
        export_features(layout, store)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with four publications of the same lists."""
    layout, store = case.make_project(tmp_path_factory.mktemp("prune") / "project")
    repository.create_feature_repo(layout)
    nightly(layout, store, 4)
    return layout.root


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Project:
    layout, _ = case.copy_project(template, tmp_path / "project", served=4)
    return Project.open(layout.root)


def rolled_back(project: Project, day: int) -> Publication:
    with clock_at(START + timedelta(days=day)):
        return rollback(project.layout, project.store)


def exported(project: Project) -> dict[str, list[int]]:
    return {view: exported_publications(project.layout, view) for view in VIEWS}


def files(project: Project) -> dict[str, int]:
    root = project.layout.data
    return {str(path.relative_to(root)): path.stat().st_size for path in root.rglob("*") if path.is_file()}


def invoke(project: Project, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--project", str(project.layout.root), *args])
    assert result.exit_code == code, result.stderr
    return result


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_bytes(b"x" * 1000)
    os.link(tmp_path / "folder" / "a", tmp_path / "b")
    (tmp_path / "c").write_bytes(b"y" * 234)
    assert disk.size([tmp_path]) == 1234
    assert disk.size([tmp_path / "b", tmp_path / "folder", tmp_path / "nothing"]) == 1000
    assert [disk.in_words(number) for number in (0, 999, 1234, 56_789_000)] == ["0 B", "999 B", "1.2 kB", "56.8 MB"]


def test_sizes_of_runs_generations_and_the_project(project: Project) -> None:
    layout = project.layout
    usage = project.disk_usage()
    lock = (layout.generations / "lock").stat().st_size
    assert usage["generations"] - lock == sum(layout.generation_file(number).stat().st_size for number in (1, 2, 3, 4))
    assert usage["total"] == sum(files(project).values()) - layout.serving.stat().st_size
    rows = {row["generation"]: row for row in project.generations()}
    for number, row in rows.items():
        folder = layout.runs / f"recommend-{number}"
        assert row["bytes"] == layout.generation_file(number).stat().st_size
        assert row["run_bytes"] == sum(path.stat().st_size for path in folder.iterdir()) > 0
        assert row["feature_bytes"] == sum(
            (layout.features / view / f"{number:06d}.parquet").stat().st_size for view in VIEWS
        )
    runs = {row["run_id"]: row for row in project.runs()}
    assert runs["recommend-2"]["generations"] == [2]
    assert runs["codebook-1"]["generations"] == [1, 2, 3, 4]
    assert runs["recommend-2"]["bytes"] == rows[2]["run_bytes"]


def test_a_dry_run_lists_what_the_prune_then_removes(project: Project) -> None:
    before = files(project)
    planned = json.loads(invoke(project, "prune", "--keep", "2", "--dry-run", "--json").stdout)
    assert files(project) == before
    assert (planned["generations"], planned["publications"]) == ([2, 1], [1, 2])
    assert sorted(planned["runs"]) == ["recommend-1", "recommend-2", "recommend-3"]
    done = json.loads(invoke(project, "prune", "--keep", "2", "--json").stdout)
    assert done == {**planned, "dry_run": False}
    after = files(project)
    removed = {name: size for name, size in before.items() if name not in after}
    assert sum(removed.values()) == done["bytes"] == sum(row["bytes"] for row in done["sizes"])
    assert exported(project) == {view: [3, 4] for view in VIEWS}
    again = project.prune(2, False)
    assert (again["generations"], again["runs"], again["publications"], again["bytes"]) == ([], [], [], 0)
    assert all(result.passed for result in project.check())


def test_runs_of_earlier_lists_are_removed_and_their_generations_can_be_served_again(project: Project) -> None:
    assert sorted(project.prune(4, False)["runs"]) == ["recommend-1", "recommend-2", "recommend-3"]
    assert sorted(row["generation"] for row in project.generations() if row["bytes"]) == [1, 2, 3, 4]
    publication = rolled_back(project, day=9)
    assert publication.generation == 3
    assert all(result.passed for result in project.check())
    # The served and the newest generation keep theirs.
    assert project.prune(4, False)["runs"] == []
    assert (project.layout.runs / "recommend-4").is_dir()


def test_the_state_of_a_finished_training_is_removed_and_that_of_a_killed_one_stays(project: Project) -> None:
    book = project.book
    case.add_run(project.store, "finetune-2", "finetune")
    with project.store.write() as connection:
        connection.exec_driver_sql("UPDATE run SET status = 'running', finished_at = NULL WHERE run_id = 'finetune-2'")
    runs = {run.run_id: run for run in project.store.runs()}
    states = {run_id: book.folder(runs[run_id]) / "checkpoint.safetensors" for run_id in ("finetune-1", "finetune-2")}
    for path in states.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
    write_complete(states["finetune-1"].parent)
    done = project.prune(4, False)
    assert [row["name"] for row in done["sizes"] if row["kind"] == "training state"] == [
        "finetune-1/checkpoint.safetensors"
    ]
    assert {run_id: path.exists() for run_id, path in states.items()} == {"finetune-1": False, "finetune-2": True}
    assert book.is_done(runs["finetune-1"])


def test_the_run_of_the_served_lists_stays(project: Project) -> None:
    rolled_back(project, day=9)
    assert sorted(project.prune(4, False)["runs"]) == ["recommend-1", "recommend-2"]


def test_removed_features_are_not_exported_again_and_new_ones_are(project: Project) -> None:
    project.prune(2, False)
    assert export_features(project.layout, project.store) == []
    nightly(project.layout, project.store, 1, start=5)
    assert exported(project) == {view: [3, 4, 5] for view in VIEWS}


def test_a_generation_that_was_published_twice_keeps_its_last_publication(project: Project) -> None:
    rolled_back(project, day=9)
    rolled_back(project, day=10)  # generation 2, as publication 6
    export_features(project.layout, project.store)
    assert project.prune(1, False)["generations"] == [3, 1]
    assert exported(project)["user_top_k"] == [4, 5, 6]
    assert export_features(project.layout, project.store) == []


def test_feature_files_stay_until_the_online_store_has_read_them(project: Project) -> None:
    online.materialize(project.layout, project.store)
    case.add_recommend_run(project.store, "recommend-5", {case.user(0): ["i5"]})  # u1 to u3 lose their lists
    publish(project.layout, project.store, "recommend-5")
    export_features(project.layout, project.store)
    nightly(project.layout, project.store, 2, start=6)
    project.prune(1, False)
    assert exported(project)["user_top_k"] == [4, 5, 6, 7]
    online.materialize(project.layout, project.store)
    project.prune(1, False)
    assert exported(project)["user_top_k"] == [7]
    found = online.get_features(project.layout, user="u3")["user_top_k"]
    assert found["item_ids"] == case.lists()["u3"]


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
def test_point_in_time_joins_still_find_kept_generations(project: Project) -> None:
    import pandas as pd
    from feast import FeatureStore

    online.materialize(project.layout, project.store)
    asked = pd.DataFrame(
        {"user_id": ["u0"] * 4, "event_timestamp": [entry.published_at for entry in publications(project.store)]}
    )
    store = FeatureStore(repo_path=str(project.layout.feature_repo))

    def answered() -> list[Any]:
        frame = store.get_historical_features(entity_df=asked, features=["user_top_k:generation"]).to_df()
        return [None if pd.isna(value) else int(value) for value in frame.sort_values("event_timestamp").generation]

    assert answered() == [1, 2, 3, 4]
    project.prune(2, False)
    assert answered() == [None, None, 3, 4]


@pytest.mark.parametrize("busy", ["generations", "features"])
def test_a_prune_beside_a_job_on_the_same_files_is_refused(project: Project, busy: str) -> None:
    with run_lock(getattr(project.layout, busy)), pytest.raises(LockedError):
        project.prune(1, False)
    assert project.layout.generation_file(1).exists()


def test_vectors_of_removed_runs_are_deleted_from_the_warehouse(project: Project) -> None:
    case.add_run(project.store, "embed-0", "embed_behavior", tables={"user_embedding": case.user_vectors("embed-0")})
    case.add_run(project.store, "embed-2", "embed_behavior")  # the newest one, which the next command would read
    assert "embed-0" in project.prune(4, False)["runs"]
    with project.store.read() as connection:
        left = set(connection.exec_driver_sql("SELECT DISTINCT run_id FROM user_embedding").scalars())
    assert left == {"embed-1"}


@pytest.mark.parametrize(("age", "passed"), [(timedelta(hours=36), True), (timedelta(hours=36, seconds=1), False)])
def test_age_of_the_last_publication(age: timedelta, passed: bool) -> None:
    known = [Publication(1, 7, START), Publication(2, 6, START + timedelta(hours=1))]
    result = check_age(known, timedelta(hours=36), START + timedelta(hours=1) + age)
    assert result.passed is passed
    assert [example["generation"] for example in result.examples] == ([] if passed else [6])


def put_last(project: Project, age: timedelta) -> None:
    with project.store.write() as connection:
        connection.exec_driver_sql(
            "UPDATE publication SET published_at = ? WHERE publication = 4",
            ((datetime.now(UTC) - age).replace(tzinfo=None),),
        )


def test_check_fails_on_a_stale_publication_and_names_its_age(project: Project) -> None:
    put_last(project, timedelta(hours=40, seconds=5))
    assert "publication_age" in invoke(project, "check", "--max-age", "2d").stdout
    result = invoke(project, "check", "--max-age", "36h", code=1)
    assert "publication_age (generation 4 is 1 day, 16:0" in result.stderr
    invoke(project, "check")  # without the option the age does not matter
    rows: list[dict[str, Any]] = json.loads(invoke(project, "check", "--max-age", "30m", "--json", code=1).stdout)
    assert [row["check"] for row in rows if not row["passed"]] == ["publication_age"]


def test_the_age_check_fails_when_nothing_is_published(tmp_path: Path) -> None:
    layout, _ = case.make_project(tmp_path / "project")
    result = invoke(Project.open(layout.root), "check", "--max-age", "36h", code=1)
    assert "nothing published yet" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["36", "h", "-1h", "1.5.h", "36 hours", "1e9h"])
def test_spans_are_written_with_a_unit(template: Path, text: str) -> None:
    result = CliRunner().invoke(cli, ["--project", str(template), "check", f"--max-age={text}"])
    assert result.exit_code == 2
    assert "30m, 36h or 7d" in result.stderr


def test_spans() -> None:
    assert [Duration().convert(text, None, None) for text in ("90s", "30m", "36h", "1.5d")] == [
        timedelta(seconds=90),
        timedelta(minutes=30),
        timedelta(hours=36),
        timedelta(hours=36),
    ]
