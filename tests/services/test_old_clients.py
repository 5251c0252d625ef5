"""Published files opened by older versions of DuckDB, each in a process of its own with its own installation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from semconv_warehouse.erase.databases import erase_from_generation
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.published import make_project

pytestmark = pytest.mark.clients

CLIENTS = Path(os.environ.get("SEMCONV_OLD_DUCKDB", ""))
VERSIONS = ["1.1.3", "1.4.4"]
# Reads every table and view whole, and calls the macro.
PROGRAM = """
import duckdb, json, sys
connection = duckdb.connect(sys.argv[1], read_only=True)
names = [name for (name,) in connection.sql("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall()]
rows = {name: connection.sql(f'SELECT count(*), bit_xor(hash(t::VARCHAR)) FROM "{name}" AS t').fetchall()[0][0] for name in names}
near = connection.execute("SELECT item_id FROM similar_item(?, 3)", [sys.argv[2]]).fetchall()
print(json.dumps({"version": duckdb.__version__, "rows": rows, "near": [item for (item,) in near]}))
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> ProjectLayout:
    layout, store = make_project(tmp_path_factory.mktemp("old") / "project")
    publish(layout, store, "recommend-1", evaluate_run_ids=["evaluate-1"])
    return layout


def opened(path: Path, version: str | None) -> dict[str, object]:
    """What a version of DuckDB finds in a file; None stands for the version of the program."""
    if version is not None and not (CLIENTS / version / "duckdb").is_dir():
        pytest.fail(f"no DuckDB {version} in {CLIENTS}; run `make test-clients`")
    environment = {**os.environ, "PYTHONPATH": str(CLIENTS / version) if version else ""}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), "i1"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    assert version is None or found["version"] == version
    return {name: value for name, value in found.items() if name != "version"}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_client_reads_tables_views_and_the_macro(layout: ProjectLayout, version: str) -> None:
    found = opened(layout.serving, version)
    assert found == opened(layout.serving, None)
    assert len(found["near"]) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_client_reads_a_file_without_a_forgotten_user(
    layout: ProjectLayout, tmp_path: Path, version: str
) -> None:
    path = tmp_path / "000001.duckdb"
    path.write_bytes(layout.serving.read_bytes())
    erase_from_generation(path, ["u1"], dry_run=False)
    assert opened(path, version) == opened(path, None)
