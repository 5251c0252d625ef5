"""Names of project folders that DuckDB cannot work in, and files of users in folders with the signs of patterns."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import duckdb
import polars as pl
import pytest
from click.testing import CliRunner

from semconv_cli.main import cli
from semconv_warehouse.store.user_files import read_user_ids


@pytest.mark.parametrize(
    ("name", "holds"), [("who?", "?"), ("back\\slash", "\\"), (os.fsdecode(b"latin-\xe9"), "bytes that are not UTF-8")]
)
def test_a_folder_that_duckdb_cannot_write_in_is_refused(tmp_path: Path, name: str, holds: str) -> None:
    result = CliRunner().invoke(cli, ["init", str(tmp_path / name)])
    assert result.exit_code == 4
    assert f"whose path holds {holds}; rename the folder" in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert CliRunner().invoke(cli, ["init", str(tmp_path / "shop")]).exit_code == 0
    (tmp_path / "shop").rename(tmp_path / name)
    result = CliRunner().invoke(cli, ["--project", str(tmp_path / name), "doctor"])
    assert result.exit_code == 4
    assert "rename the folder" in result.stderr


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_of_users_is_no_pattern(tmp_path: Path, suffix: str) -> None:
    for name in ("[a]*", "a"):
        (tmp_path / name).mkdir()
        frame = pl.DataFrame({"user_id": [name]})
        path = tmp_path / name / f"u[1].{suffix}"
        frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
    assert read_user_ids(tmp_path / "[a]*" / f"u[1].{suffix}") == ["[a]*"]


def test_feast_reads_the_features_of_this_project_alone(tmp_path: Path) -> None:
    for name in ("[a]*", "a"):
        assert CliRunner().invoke(cli, ["init", str(tmp_path / name)]).exit_code == 0
        folder = tmp_path / name / "data" / "features" / "item_code"
        folder.mkdir(parents=True)
        pl.DataFrame({"item_id": [name]}).write_parquet(folder / "1.parquet")
    spec = importlib.util.spec_from_file_location(
        "definitions_here", tmp_path / "[a]*" / "feature_repo" / "definitions.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT item_id FROM read_parquet($path)", {"path": module.item_code.source.path})
        assert rows.fetchall() == [("[a]*",)]
