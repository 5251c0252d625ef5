"""Damaged files (cut short, overwritten, missing, bits flipped) cause one clear line; the served lists stay; the next run repairs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from semconv_cli.main import cli
from semconv_warehouse.erase.files import erase_from_parquet
from semconv_warehouse.features import repository
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.faults.damage import Damage, cut_short, empty, flip_bits, overwrite
from tests.worlds.published import SERVE, add_recommend_run, lists, make_project

COUNT = "SELECT count(*) AS n, max(generation) AS generation FROM recommendation"


DAMAGES = pytest.mark.parametrize("damage", [cut_short, overwrite, flip_bits, empty])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that serves and has materialized generation 1; the lists of generation 2 are computed, not published."""
    layout, store = make_project(tmp_path_factory.mktemp("template") / "project")
    repository.create_feature_repo(layout)
    assert semconv(layout.root, "publish").exit_code == 0
    assert semconv(layout.root, "features", "materialize").exit_code == 0
    add_recommend_run(store, "recommend-2", lists(1))
    return layout.root


@pytest.fixture
def layout(template: Path, tmp_path: Path) -> ProjectLayout:
    layout = ProjectLayout(tmp_path / "project")
    shutil.copytree(template, layout.root)
    layout.serving.unlink()
    layout.generation_file(1).chmod(0o644)
    os.link(layout.generation_file(1), layout.serving)
    return layout


@pytest.fixture
def materialized(layout: ProjectLayout) -> ProjectLayout:
    assert semconv(layout.root, "features", "materialize").exit_code == 0  # since the copied online store is a new file
    return layout


def semconv(root: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--project", str(root), *words])


def refused(root: Path, *words: str, code: int = 4) -> str:
    result = semconv(root, *words)
    assert result.exit_code == code, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.stderr.splitlines()[-1] == line
    return line


def served(root: Path) -> str:
    result = semconv(root, "sql", COUNT, "--csv")
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()[1]


@DAMAGES
def test_a_damaged_warehouse_is_named_and_the_published_lists_stay_readable(
    layout: ProjectLayout, damage: Damage
) -> None:
    damage(layout.warehouse)
    for words in (("publish",), ("run",), ("generations",), ("check",)):
        assert "warehouse.duckdb: not a DuckDB database, or damaged" in refused(layout.root, *words)
    assert "restore a backup, or move the file away" in refused(layout.root, "runs")
    assert "needs care: warehouse" in refused(layout.root, "doctor", code=1)
    assert served(layout.root) == "12,1"
    assert semconv(layout.root, "show", "user", "u1").exit_code == 0

    layout.warehouse.rename(layout.warehouse.with_suffix(".away"))
    fresh = semconv(layout.root, "runs")
    assert fresh.exit_code == 0
    assert "missing, so an empty warehouse was created; ingest all data again" in fresh.stderr
    assert served(layout.root) == "12,1"


@pytest.mark.parametrize("damage", [cut_short, flip_bits])
def test_the_next_publish_replaces_a_damaged_generation(layout: ProjectLayout, damage: Damage) -> None:
    os.utime(layout.runs / "recommend-1")
    with duckdb.connect(str(layout.warehouse)) as connection:  # makes recommend-1 the newest run again
        connection.execute("UPDATE run SET finished_at = now()::TIMESTAMP WHERE run_id = 'recommend-1'")
    damage(layout.serving)
    assert "run `semconv publish` to write it again" in refused(layout.root, "check")
    assert "needs care" in refused(layout.root, "doctor", code=1)
    assert semconv(layout.root, "publish").exit_code == 0
    assert served(layout.root) == "12,2"
    assert not layout.generation_file(1).exists()
    assert semconv(layout.root, "check").exit_code == 0
    again = semconv(layout.root, "publish", "--json")
    assert '"generation": 2' in again.stdout


@pytest.mark.parametrize("damage", [overwrite, flip_bits])
def test_a_rollback_to_a_damaged_generation_is_refused(layout: ProjectLayout, damage: Damage) -> None:
    assert semconv(layout.root, "publish").exit_code == 0
    assert served(layout.root) == "12,2"
    damage(layout.generation_file(1))
    assert "000001.duckdb" in refused(layout.root, "publish", "--rollback")
    assert served(layout.root) == "12,2"
    assert semconv(layout.root, "check").exit_code == 0


def test_doctor_tells_a_missing_published_file_from_a_project_that_never_published(layout: ProjectLayout) -> None:
    layout.serving.unlink()
    layout.generation_file(1).unlink()
    assert "the published file is missing" in semconv(layout.root, "doctor").stdout
    assert "needs care: serving" in refused(layout.root, "doctor", code=1)
    assert semconv(layout.root, "publish").exit_code == 0
    assert served(layout.root) == "12,2"


@pytest.mark.parametrize("damage", [flip_bits, empty])
def test_a_damaged_serving_file_is_replaced_by_its_generation_file(layout: ProjectLayout, damage: Damage) -> None:
    layout.serving.unlink()
    shutil.copy(
        layout.generation_file(1), layout.serving
    )  # as in a copied project, where the link became a second file
    damage(layout.serving)
    assert served(layout.root) == "12,1"
    assert layout.serving.samefile(layout.generation_file(1))


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        flip_bits,
        Path.unlink,
        pytest.param(overwrite, marks=pytest.mark.slow),
        pytest.param(empty, marks=pytest.mark.slow),
    ],
)
def test_a_damaged_part_is_never_published(layout: ProjectLayout, damage: Damage) -> None:
    (part,) = (layout.runs / "recommend-2").glob("part-*.parquet")
    damage(part)
    line = refused(layout.root, "publish")
    assert "1 of 1 parts are damaged or missing" in line or (damage is Path.unlink and "no part files of run" in line)
    assert not part.exists()  # so that the run is incomplete and writes it again
    assert served(layout.root) == "12,1"
    add_recommend_run(DuckDBStore(layout), "recommend-2", lists(1), settings=SERVE)
    assert semconv(layout.root, "publish").exit_code == 0
    assert served(layout.root) == "12,2"


def test_a_part_from_which_a_user_was_erased_can_be_published(layout: ProjectLayout) -> None:
    (part,) = (layout.runs / "recommend-2").glob("part-*.parquet")
    assert erase_from_parquet(part, ["u1"], dry_run=False) == 3
    assert semconv(layout.root, "publish", "--force").exit_code == 0  # fewer users have a list
    assert served(layout.root) == "9,2"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("registry.db", overwrite),
        ("registry.db", Path.unlink),
        ("online_store.db", cut_short),
        ("online_store.db", Path.unlink),
        ("features/materialized.json", cut_short),
        ("features/user_top_k/000001.parquet", cut_short),
        pytest.param("registry.db", empty, marks=pytest.mark.slow),
        pytest.param("online_store.db", overwrite, marks=pytest.mark.slow),
        pytest.param("online_store.db", empty, marks=pytest.mark.slow),
        pytest.param("features/user_top_k/000001.parquet", empty, marks=pytest.mark.slow),
    ],
)
def test_damaged_files_of_feast_are_written_again(materialized: ProjectLayout, name: str, damage: Damage) -> None:
    before = semconv(materialized.root, "features", "get", "--user", "u1", "--json")
    assert before.exit_code == 0
    damage(materialized.data / name)
    if name == "features/user_top_k/000001.parquet":  # is read only when the online store is filled again
        (materialized.features / "materialized.json").unlink()
    done = semconv(materialized.root, "features", "materialize")
    assert done.exit_code == 0, done.stderr
    after = semconv(materialized.root, "features", "get", "--user", "u1", "--json")
    assert after.stdout == before.stdout


def test_a_feature_file_with_a_damaged_page_is_written_again(materialized: ProjectLayout) -> None:
    path = materialized.features / "user_embedding" / "000001.parquet"
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)  # before the footer, which stays intact
    path.write_bytes(content)
    (materialized.features / "materialized.json").unlink()
    done = semconv(materialized.root, "features", "materialize")
    assert done.exit_code == 0, done.stderr
    assert '"generation": 1' in semconv(materialized.root, "features", "get", "--user", "u1", "--json").stdout
