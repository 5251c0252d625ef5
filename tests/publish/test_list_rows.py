"""One entry in ``LIST_COLUMNS`` adds a column to loaded lists, a generation file, its view and the export for Feast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from semconv.data.list_rows import LIST_COLUMNS, LIST_SCHEMA
from semconv_cli.sql_page import sql_page
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.serving.query import query
from tests.worlds.paths import ROOT
from tests.worlds.published import make_project

# A process of its own, because modules read LIST_COLUMNS when they are imported.
_ONE_COLUMN_MORE = """
import json, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from semconv.data import list_rows

list_rows.LIST_COLUMNS += (list_rows.ListColumn("shelf", pa.string(), "VARCHAR", default="top", feature="shelves"),)
list_rows.LIST_SCHEMA = list_rows.LIST_SCHEMA.append(pa.field("shelf", pa.string()))

from semconv.runs.digests import write_complete
from semconv_cli.sql_page import sql_page
from semconv_warehouse.features.export import export_features, feature_file
from semconv_warehouse.publish.external_lists import KnownIds, load_lists
from semconv_warehouse.publish.publishing import publish
from semconv_warehouse.serving.show import show_user
from tests.worlds.published import SERVE, add_run, make_project

folder = Path(sys.argv[1])
layout, store = make_project(folder / "project")
rows = [("u0", 1, "i1", -1.0, "left"), ("u0", 2, "i2", -2.0, None)]
names = ("user_id", "rank", "item_id", "score", "shelf")
pq.write_table(pa.Table.from_pylist([dict(zip(names, row)) for row in rows]), folder / "lists.parquet")
load_lists([folder / "lists.parquet"], KnownIds(["i1", "i2"], ["u0"]), layout.runs / "loaded")
write_complete(layout.runs / "loaded")
add_run(store, "loaded", "recommend", settings=SERVE)
publish(layout, store, "loaded")
export_features(layout, store)
print(json.dumps({
    "shown": show_user(layout, "u0")["recommendations"],
    "exported": pq.read_table(feature_file(layout, "user_top_k", 1)).drop_columns(["event_timestamp"]).to_pylist(),
    "is_documented": ", shelf" in sql_page(),
}))
"""


def test_a_generation_has_the_columns_and_types(tmp_path: Path) -> None:
    layout, store = make_project(tmp_path / "project")
    publish(layout, store, "recommend-1")
    found = query(layout, "SELECT column_name, column_type FROM (DESCRIBE recommendation)").to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("generation", "BIGINT"),
        *((column.name, column.sql_type) for column in LIST_COLUMNS),
    ]
    assert query(layout, "FROM recommendation").drop_columns(["generation"]).schema.equals(LIST_SCHEMA)


def test_every_column_is_documented() -> None:
    (line,) = [line for line in sql_page().splitlines() if line.startswith("| `recommendation` |")]
    assert all(column.name in line and column.meaning in line for column in LIST_COLUMNS)


def test_one_entry_adds_a_column_everywhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ONE_COLUMN_MORE, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    names = ["rank", "item_id", "title", "score", "sources", "reason_item_id", "shelf", "reason_title"]
    assert [list(row) for row in found["shown"]] == [names, names]
    assert [row["shelf"] for row in found["shown"]] == ["left", "top"]
    assert found["exported"] == [
        {"user_id": "u0", "item_ids": ["i1", "i2"], "scores": [-1.0, -2.0], "shelves": ["left", "top"], "generation": 1}
    ]
    assert found["is_documented"]
