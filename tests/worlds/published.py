"""A small warehouse with finished runs, made with the real migrations and the real store.

It has items i0..i9, of which i9 is removed, and users u0..u3. User u has the history i0..i(u) and gets the next three
items. Behaviour vectors lie on a circle, so it is known which items are similar.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from semconv.data.list_rows import LIST_SCHEMA
from semconv.data.store import RunRecord
from semconv.modes import make_folder
from semconv.runs.digests import write_complete
from semconv.runs.files import part_file
from semconv_warehouse.store.database import insert_arrow
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.migrate import migrate
from tests.worlds.once import made_once, short_name
from tests.worlds.reading import reading

Project = tuple[ProjectLayout, DuckDBStore]
NUM_ITEMS, NUM_USERS, LIST_LENGTH = 10, 4, 3
SERVE = {"recommend": {"seen": "masked"}, "split": "serve", "where": ""}


def item(number: int) -> str:
    return f"i{number}"


def user(number: int) -> str:
    return f"u{number}"


def make_project(root: Path) -> Project:
    """Make a warehouse whose last runs are the recommend run ``recommend-1`` and the evaluate run ``evaluate-1``."""
    template = made_once(f"finished-runs-{short_name(item(0), user(0))}", _finish_runs)
    shutil.copytree(template, root, dirs_exist_ok=True)
    layout = ProjectLayout(root)
    return layout, DuckDBStore(layout)


def _finish_runs(folder: Path) -> None:
    """Make the project that :func:`make_project` copies."""
    layout = ProjectLayout(folder)
    make_folder(layout.data)
    layout.settings_file.write_text("")
    migrate(layout.warehouse, 0.0)
    store = DuckDBStore(layout)
    with store.write() as connection:
        insert_arrow(connection, "item", _items())
        insert_arrow(
            connection,
            "user_account",
            pa.table({"user_id": [user(u) for u in range(NUM_USERS)], "user_index": list(range(NUM_USERS))}),
        )
        insert_arrow(connection, "interaction", _interactions())
    add_run(
        store,
        "embed-1",
        "embed_behavior",
        tables={"item_embedding": item_vectors("embed-1"), "user_embedding": user_vectors("embed-1")},
    )
    add_run(store, "text-1", "embed_text")
    add_run(
        store,
        "codebook-1",
        "codebook",
        inputs=["embed-1", "text-1"],
        settings={"codebook": {"collisions": "resolve"}},
        tables={"item_code": item_codes("codebook-1", range(8))},
    )
    add_run(
        store, "assign-1", "assign", inputs=["codebook-1", "text-1"], tables={"item_code": item_codes("assign-1", [8])}
    )
    add_run(store, "finetune-1", "finetune", inputs=["codebook-1"])
    add_recommend_run(store, "recommend-1", lists())
    add_run(store, "evaluate-1", "evaluate", inputs=["finetune-1"], tables={"metric": metrics("evaluate-1", 0.25)})


def copy_project(root: Path, to: Path, *, served: int = 1) -> Project:
    """Copy a project; its ``serving.duckdb`` is a hard link to the served generation in the copy too."""
    layout = ProjectLayout(Path(shutil.copytree(root, to)))
    if layout.serving.exists():
        layout.serving.unlink()
        os.link(layout.generation_file(served), layout.serving)
    return layout, DuckDBStore(layout)


def lists(shift: int = 0) -> dict[str, list[str]]:
    """Return the lists: user u gets the three items that follow ``shift`` items after the history i0..i(u)."""
    return {user(u): [item(u + 1 + shift + rank) for rank in range(LIST_LENGTH)] for u in range(NUM_USERS)}


def add_run(
    store: DuckDBStore,
    run_id: str,
    stage: str,
    *,
    inputs: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    tables: Mapping[str, pa.Table] | None = None,
) -> RunRecord:
    """Add a finished run with its rows."""
    (store.layout.runs / run_id).mkdir(parents=True, exist_ok=True)
    record = RunRecord(
        run_id,
        stage,
        "running",
        settings or {},
        tuple(inputs),
        f"fingerprint of {run_id}",
        f"data/runs/{run_id}",
        "0.1.0",
    )
    store.start_run(record)
    store.finish_run(run_id, tables or {})
    return record


def add_recommend_run(
    store: DuckDBStore,
    run_id: str,
    top_k: Mapping[str, Sequence[str]],
    *,
    settings: Mapping[str, Any] = SERVE,
    columns: Mapping[str, Any] | None = None,
) -> RunRecord:
    """Add a finished recommend run with one part; ``columns`` replaces columns of the part."""
    rows = recommendation_rows(top_k)
    for name, values in (columns or {}).items():
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(values, rows.schema.field(name).type))
    folder = store.layout.runs / run_id
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, folder / part_file(0))
    write_complete(folder)
    return add_run(
        store, run_id, "recommend", inputs=["finetune-1", "codebook-1", "assign-1", "embed-1"], settings=settings
    )


def recommendation_rows(top_k: Mapping[str, Sequence[str]]) -> pa.Table:
    rows = [
        {
            "user_id": u,
            "rank": rank,
            "item_id": i,
            "score": -float(rank),
            "sources": ["model"],
            "reason_item_id": item(0),
        }
        for u, items in top_k.items()
        for rank, i in enumerate(items, 1)
    ]
    return pa.Table.from_pylist(rows, LIST_SCHEMA)


def item_vectors(run_id: str, numbers: Sequence[int] = range(8)) -> pa.Table:
    """Return item vectors: the one of item k has an angle of k * 10 degrees."""
    vectors = [[math.cos(math.radians(10 * k)), math.sin(math.radians(10 * k))] for k in numbers]
    return _vectors(run_id, "item_id", [item(k) for k in numbers], vectors)


def user_vectors(run_id: str) -> pa.Table:
    return _vectors(run_id, "user_id", [user(u) for u in range(NUM_USERS)], [[float(u), 1.0] for u in range(NUM_USERS)])


def item_codes(run_id: str, numbers: Sequence[int]) -> pa.Table:
    """Return item codes: item k has the codes k // 4, k % 4."""
    return pa.table(
        {
            "run_id": [run_id] * len(numbers),
            "item_id": [item(k) for k in numbers],
            "codes": pa.array([[k // 4, k % 4] for k in numbers], pa.list_(pa.uint16())),
            "semantic_id": [f"<a_{k // 4}><b_{k % 4}>" for k in numbers],
            "vector_source": ["learned"] * len(numbers),
            "code_set_run_id": ["codebook-1"] * len(numbers),
            "is_reassigned": [False] * len(numbers),
        }
    )


def metrics(run_id: str, value: float) -> pa.Table:
    row = {
        "run_id": run_id,
        "method": "model",
        "split": "test",
        "segment": "all",
        "train_cut": "[:-2]",
        "seen": "masked",
        "name": "ndcg",
        "k": 10,
        "value": value,
        "ci_low": value,
        "ci_high": value,
        "num_users": NUM_USERS,
        "protocol": json.dumps({}),
    }
    return pa.Table.from_pylist([row])


def _vectors(run_id: str, key: str, ids: Sequence[str], vectors: Sequence[Sequence[float]]) -> pa.Table:
    return pa.table(
        {
            "run_id": [run_id] * len(ids),
            key: list(ids),
            "vector_source": ["learned"] * len(ids),
            "vector": pa.array(vectors, pa.list_(pa.float32())),
        }
    )


def _items() -> pa.Table:
    numbers = range(NUM_ITEMS)
    return pa.table(
        {
            "item_id": [item(k) for k in numbers],
            "item_index": pa.array(list(numbers), pa.int32()),
            "title": [f"Title {k}" for k in numbers],
            "description": [None] * NUM_ITEMS,
            "is_available": [k != 9 for k in numbers],
            "removed_at": pa.array([datetime(2026, 1, 1) if k == 9 else None for k in numbers], pa.timestamp("us")),  # noqa: DTZ001
        }
    )


def _interactions() -> pa.Table:
    rows = [{"user_id": user(u), "item_id": item(k), "position": k} for u in range(NUM_USERS) for k in range(u + 1)]
    return pa.Table.from_pylist(rows)


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with reading(path) as connection:
        return connection.execute(statement).fetchall()


def change(store: DuckDBStore, statement: str) -> None:
    with store.write() as connection:
        connection.execute(sa.text(statement))
