"""Parts of a recommend run: one method's lists, or those of several side by side."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semconv.data.list_rows import LIST_SCHEMA
from semconv.runs.files import part_file
from semconv.stages.lists.parts import holds_part, read_part, write_part
from tests.worlds.parts import read_parts


def rows(users: list[str], items: list[str], source: str) -> pa.Table:
    """Two places a user, in reverse order."""
    lists = [
        {"user_id": user, "rank": rank, "item_id": item, "score": -float(rank), "sources": [source]}
        for user in users
        for rank, item in reversed(list(enumerate(items, 1)))
    ]
    return pa.Table.from_pylist(lists, LIST_SCHEMA)


def keys(table: pa.Table) -> list[tuple[str, int, str]]:
    return [(row["user_id"], row["rank"], row["item_id"]) for row in table.to_pylist()]


def test_a_part_of_one_method_is_the_models_and_has_no_column_for_it(tmp_path: Path) -> None:
    path = tmp_path / part_file(0)
    write_part(path, [rows(["b"], ["x", "y"], "model"), rows(["a"], ["y", "z"], "model")], "label")
    assert pq.read_schema(path).names == LIST_SCHEMA.names
    expected = [("a", 1, "y"), ("a", 2, "z"), ("b", 1, "x"), ("b", 2, "y")]
    assert keys(read_parts(tmp_path)) == keys(read_parts(tmp_path, method="model")) == expected
    assert read_parts(tmp_path, method="blend").num_rows == 0


@pytest.mark.parametrize(("served", "other"), [("blend", "model"), ("model", "blend")])
def test_methods_side_by_side_are_never_mixed(tmp_path: Path, served: str, other: str) -> None:
    for place, user in enumerate("ab"):
        own, beside = rows([user], ["x", "y"], "transition"), rows([user], ["z", "x"], "model")
        write_part(tmp_path / part_file(place), [own], "label", served, {other: beside})
    assert holds_part(tmp_path / part_file(0), "label")
    mine = [("a", 1, "x"), ("a", 2, "y"), ("b", 1, "x"), ("b", 2, "y")]
    theirs = [("a", 1, "z"), ("a", 2, "x"), ("b", 1, "z"), ("b", 2, "x")]
    assert keys(read_parts(tmp_path)) == keys(read_parts(tmp_path, method=served)) == mine
    assert keys(read_parts(tmp_path, method=other)) == theirs
    assert read_parts(tmp_path).schema.names == LIST_SCHEMA.names
    names = ["user_id", "item_id"]
    assert read_part(tmp_path / part_file(0), names).to_pylist() == [
        {"user_id": "a", "item_id": "x"},
        {"user_id": "a", "item_id": "y"},
    ]
