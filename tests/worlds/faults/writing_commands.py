"""Every command that writes, on a small published project of its own: what it changes, and what must never be seen between."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import sqlite3
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from semconv_warehouse.features.online import materialize
from semconv_warehouse.features.repository import create_feature_repo
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from tests.worlds.command import KILLED, Commands, Done
from tests.worlds.once import made_once
from tests.worlds.published import add_recommend_run, lists, make_project, recommendation_rows
from tests.worlds.reading import reading

NEW_USERS, NEW_ITEMS = 400, 1_500
COMMANDS = {
    "interactions": ("ingest", "interactions", "{inputs}/rows.csv"),
    "items": ("ingest", "items", "{inputs}/items.jsonl"),
    "load": ("recommend", "load", "{inputs}/part.parquet"),
    "publish": ("publish",),
    "materialize": ("features", "materialize"),
}
_SERVED = ("generation_info", "recommendation", "item", "item_code", "item_embedding", "user_embedding", "user_history")
_WAREHOUSE = {
    "item": "item_id, item_index, title, description, is_available",
    "user_account": "user_id, user_index",
    "interaction": "user_id, item_id, source_position, position, rating",
    "publication": "publication, generation",
}


@dataclass(frozen=True)
class Case:
    """A project before and after a command that nothing disturbed."""

    root: Path
    words: tuple[str, ...]
    before: dict[str, Any]
    after: dict[str, Any]
    undisturbed: Done


def digest(path: Path, tables: dict[str, str]) -> dict[str, Any]:
    """Table -> number of rows and a hash over them, from a file that opens read-only."""
    with reading(path) as connection:
        return {
            table: connection.execute(f"SELECT count(*), bit_xor(hash({columns})) FROM {table}").fetchall()
            for table, columns in tables.items()
        }


def served(root: Path) -> dict[str, Any]:
    columns = {table: f"{table}::VARCHAR" for table in _SERVED}
    columns["generation_info"] = "generation"
    return digest(root / "data" / "serving.duckdb", columns)


def warehouse(root: Path) -> dict[str, Any]:
    path = root / "data" / "warehouse.duckdb"
    with reading(path) as connection:
        finished = connection.execute(
            "SELECT stage, fingerprint FROM run WHERE status = 'finished' ORDER BY ALL"
        ).fetchall()
    return {**digest(path, _WAREHOUSE), "run": finished}


def online(root: Path) -> list[Any]:
    """Every value of the online store, without the moments at which they were written."""
    path = root / "data" / "online_store.db"
    if not path.exists():
        return []
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as connection:
        tables = sorted(name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
        return [
            row
            for table in tables
            for row in connection.execute(f'SELECT entity_key, feature_name, value FROM "{table}" ORDER BY 1, 2')
        ]


def state(root: Path) -> dict[str, Any]:
    return {"served": served(root), "warehouse": warehouse(root), "online": online(root)}


def copied(root: Path, to: Path) -> Path:
    subprocess.run(["cp", "-a", root, to], check=True)  # keeps hard links
    return to


def leftovers(root: Path) -> list[str]:
    return sorted(
        str(path.relative_to(root))
        for path in (root / "data").rglob("*")
        if path.name.startswith(".") or path.suffix in {".tmp", ".wal"}
    )


def write_inputs(folder: Path) -> Path:
    """Files for the commands."""
    rows = [f"n{user},i{user % 7 + place},{place}" for user in range(NEW_USERS) for place in range(3)]
    (folder / "rows.csv").write_text("user_id,item_id,source_position\n" + "\n".join(rows))
    items = [json.dumps({"item_id": f"i{item}", "title": f"thing {item}"}) for item in range(NEW_ITEMS)]
    (folder / "items.jsonl").write_text("\n".join(items))
    pq.write_table(recommendation_rows(lists(2)), folder / "part.parquet")
    return folder


def make_cases(commands: Commands) -> dict[str, Case]:
    """Return each command with what it does undisturbed; tests work on copies of its project."""
    folder = made_once("writing-commands", lambda path: _run_undisturbed(commands, path))
    cases: dict[str, Case] = pickle.loads((folder / "cases").read_bytes())
    return cases


def _run_undisturbed(commands: Commands, folder: Path) -> None:
    """Run every command on a copy of its own.

    Generation 1 is served and materialized, the lists of the next one are there; it is published where it is to be materialized.
    """
    folder.mkdir()
    inputs = write_inputs(folder)
    layout, store = make_project(folder / "published")
    create_feature_repo(layout)
    publish(layout, store, "recommend-1")
    materialize(layout, store)
    add_recommend_run(store, "recommend-2", lists(1))
    found = {}
    for name, words in COMMANDS.items():
        root = copied(layout.root, folder / name)
        if name == "materialize":
            publish(ProjectLayout(root), DuckDBStore(ProjectLayout(root)), "recommend-2")
        filled = tuple(word.format(inputs=inputs) for word in words)
        done_in = copied(root, folder / f"{name}-undisturbed")
        done = commands.run(done_in, *filled)
        assert done.status == 0, done.stderr
        assert leftovers(done_in) == []
        found[name] = Case(root, filled, state(root), state(done_in), done)
        assert found[name].before != found[name].after
    (folder / "cases").write_bytes(pickle.dumps(found))


def moment(draw: random.Random, undisturbed: Done) -> dict[str, float | int]:
    """Draw a moment to kill: at one of Python's accesses to project files, or at a time, then mostly in DuckDB or Feast."""
    if draw.random() < 0.5:
        return {"kill_event": draw.randint(1, undisturbed.events)}
    return {"kill_after": draw.random() * undisturbed.seconds}


def kill_and_repeat(commands: Commands, case: Case, root: Path, when: dict[str, float | int]) -> bool:
    """Kill a command, run it again and compare the result; tell whether the kill came before the command's end."""
    copied(case.root, root)
    killed = commands.run(root, *case.words, **when)
    assert killed.status in (KILLED, 0), (when, killed.stderr)
    assert served(root) in (case.before["served"], case.after["served"]), when
    assert warehouse(root) in (case.before["warehouse"], case.after["warehouse"], _unrecorded(case)), when
    again = commands.run(root, *case.words)
    assert again.status == 0, (when, again.stderr)
    assert state(root) == case.after, when
    # A command that finds its work done only reads. So it leaves the log of a commit that DuckDB had not yet written into
    # the file, with its data; the next writer does that.
    assert leftovers(root) in ([], ["data/warehouse.duckdb.wal"]), when
    shutil.rmtree(root)
    return killed.status == KILLED


def _unrecorded(case: Case) -> dict[str, Any]:
    """The warehouse after a publish that was killed between renaming the file and recording the publication."""
    return {**case.after["warehouse"], "publication": case.before["warehouse"]["publication"]}
