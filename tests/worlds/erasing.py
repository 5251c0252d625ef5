"""A published project whose files hold users in every way, and what is left of a user under ``data/``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from semconv.artifacts import read_json, write_arrays, write_json
from semconv.modes import is_hidden_name
from semconv.runs.digests import write_complete
from semconv.runs.files import BEHAVIOR_VECTORS, LIST_STATES, TUNED_ON, table_file
from semconv_warehouse.features import online, repository
from semconv_warehouse.project import Project
from semconv_warehouse.publish.publishing import publish, rollback
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds import published as case
from tests.worlds.once import made_once
from tests.worlds.reading import reading

RUNS = ("embed-1", "finetune-1", "recommend-1")  # whose files hold users


def person(number: int) -> str:
    return f"person-{number}@example.org"


ERASED = person(3)
Rows = dict[str, list[tuple[Any, ...]]]  # by table


def template() -> Path:
    """Return a project that tests copy."""
    return made_once("erasing", _make)


def _make(folder: Path) -> None:
    """Make two generations for four users, materialize both, serve the first one again, and write arrays as runs do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(case, "user", person)
        layout, store = case.make_project(folder)
        repository.create_feature_repo(layout)
        publish(layout, store, "recommend-1")
        online.materialize(layout, store)
        case.add_recommend_run(store, "recommend-2", case.lists(1))
        publish(layout, store, "recommend-2")
        rollback(layout, store)
        online.materialize(layout, store)
        pq.write_table(case.user_vectors("embed-1"), layout.runs / "embed-1" / table_file("user_embedding"))
    vectors = {"user_index": np.arange(4, dtype=np.int32), "user_vectors": np.ones((4, 2), np.float32)}
    items = {"item_index": np.arange(8, dtype=np.int32)}
    write_arrays(layout.runs / "embed-1" / BEHAVIOR_VECTORS, {**vectors, **items})
    tuned_on = {
        "offsets": np.array([0, 1, 3, 6, 10]),
        "items": np.arange(10, dtype=np.int32),
        "times": np.arange(10),
        "has_query": np.zeros(10, bool),
        "text_items": np.arange(3, dtype=np.int32),
    }
    write_arrays(layout.runs / "finetune-1" / TUNED_ON, tuned_on)
    states = {"users": np.arange(4, dtype=np.int32), "states": np.arange(5, 9).astype(np.uint64)}
    write_arrays(layout.runs / "recommend-1" / LIST_STATES, states)
    for run in RUNS:
        write_complete(layout.runs / run, tables=[], content={})


def copied(template: Path, root: Path) -> Project:
    """Open a copy of the template."""
    shutil.copytree(template, root)
    layout = ProjectLayout(root)
    layout.serving.unlink()  # the copy is two files; in a project it is one file with two names
    layout.serving.hardlink_to(layout.generation_file(1))
    path = layout.features / "materialized.json"  # records which file the online store was
    write_json(path, {**read_json(path), "online_store": online._online_store(layout)})
    return Project.open(root)


def traces(project: Project, text: str = ERASED) -> set[str]:
    """Return the files under data/ that hold a text."""
    return traces_in(project.layout.data, text)


def traces_in(root: Path, text: str) -> set[str]:
    """Return the files of a folder that hold a text: in their bytes, or as a value where values may be compressed."""
    files = [path for path in root.rglob("*") if path.is_file()]
    found = {path for path in files if text.encode() in path.read_bytes()}
    found |= {path for path in files if path.suffix == ".parquet" and text in str(pq.read_table(path).to_pylist())}
    found |= {path for path in files if path.suffix == ".duckdb" and text in str(_readable_values(path))}
    return {str(path.relative_to(root)) for path in found}


def _readable_values(path: Path) -> Rows:
    """Return every row of a DuckDB file; nothing of a temporary file that a killed process left half written."""
    try:
        return values(path)
    except duckdb.IOException:
        if any(is_hidden_name(part) for part in path.parts):
            return {}
        raise


def values(path: Path) -> Rows:
    """Return every row of every table of a DuckDB file."""
    with reading(path) as connection:
        names = "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() ORDER BY 1"
        tables = [name for (name,) in connection.execute(names).fetchall()]
        return {table: connection.execute(f'FROM "{table}"').fetchall() for table in tables}


def without(rows: Rows, text: str = ERASED) -> Rows:
    return {table: [row for row in found if text not in row] for table, found in rows.items()}


def content(project: Project) -> dict[str, bytes]:
    """Return the bytes of every file under data/ except locks."""
    files = [path for path in project.layout.data.rglob("*") if path.is_file() and path.name != "lock"]
    return {str(path.relative_to(project.layout.data)): path.read_bytes() for path in files}


def run_folders(project: Project, runs: Sequence[str] = RUNS) -> list[Path]:
    return [project.layout.runs / run for run in runs]
