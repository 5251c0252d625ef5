"""The plain `feast` program in the user's copy of the feature repository."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from semconv_warehouse.features.export import export_features
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.features.two_publications import make_template
from tests.worlds.published import (
    Project,
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    layout = ProjectLayout(make_template(tmp_path / "project"))
    return layout, DuckDBStore(layout)


def test_plain_feast_commands_work_in_the_users_copy(project: Project) -> None:
    layout, store = project
    export_features(layout, store)
    feast = str(Path(sys.executable).with_name("feast"))
    for arguments in (["apply"], ["materialize-incremental", "2100-01-01T00:00:00"]):
        done = subprocess.run([feast, *arguments], cwd=layout.feature_repo, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    asked = subprocess.run(
        [feast, "get-online-features", "-e", "user_id=u1", "-f", "user_top_k:item_ids", "-f", "user_top_k:generation"],
        cwd=layout.feature_repo, capture_output=True, text=True,
    )  # fmt: skip
    assert "i2" in asked.stdout, asked.stderr
