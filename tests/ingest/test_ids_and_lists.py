"""Ids from every type, and lists and nested fields that come out alike from every format."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semconv.errors import InputError
from semconv_warehouse.ingest.values.ids import id_text
from semconv_warehouse.ingest.values.lists import leaves, parsed
from semconv_warehouse.ingest.values.raw import RawColumn
from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds.small_files import events_of, items_of, values, written


@pytest.mark.parametrize(
    ("kind", "ids", "expected"),
    [
        (pl.Int64(), [1, None], ["1", None]),
        (pl.Float64(), [1.0, 2.5, float("nan"), None], ["1", "2.5", None, None]),
        (pl.Decimal(38, 0), [Decimal(1), Decimal(10)], ["1", "10"]),
        (pl.Decimal(20, 2), [Decimal("1.00"), Decimal("10.50"), Decimal("100")], ["1", "10.5", "100"]),
        (pl.Binary(), [b"u1", b"\xff\xfe", None], ["u1", None, None]),
        (pl.String(), [" u ", "", "007", "1.0", "NaN"], ["u", None, "007", "1.0", "NaN"]),
    ],
)
def test_ids_of_every_type(kind: pl.DataType, ids: list[Any], expected: list[str | None]) -> None:
    frame = pl.DataFrame({"x": ids}, {"x": kind})
    assert frame.select(id_text(RawColumn("x", "x", kind, "file")))["x"].to_list() == expected


def test_uuids(store: DuckDBStore, tmp_path: Path) -> None:
    storage = pa.array([uuid.UUID(int=number).bytes for number in (1, 2)], pa.binary(16))
    users = pa.ExtensionArray.from_storage(pa.uuid(), storage)
    pq.write_table(pa.table({"user_id": users, "item_id": ["a", "b"], "event_time": [1, 2]}), tmp_path / "e.parquet")
    read = events_of(store, tmp_path / "e.parquet")
    assert values(read, "user_id") == [
        ("00000000-0000-0000-0000-000000000001",),
        ("00000000-0000-0000-0000-000000000002",),
    ]


@pytest.mark.parametrize(
    ("ids", "expected", "is_said"),
    [
        (["7.0", "8.0", ""], ["7", "8"], True),
        (["7", "8.0"], ["7", "8"], True),
        (["7.0", "8.5"], ["7.0", "8.5"], False),
        (["7.0", "v1.0"], ["7.0", "v1.0"], False),
        (["7", "8"], ["7", "8"], False),
        (["7.0"] * 1500 + ["x"], ["7.0", "x"], False),  # the value that decides may come late
    ],
)
def test_ids_that_pandas_made_floats(tmp_path: Path, ids: list[str], expected: list[str], is_said: bool) -> None:
    for name, text in (
        ("i.csv", "item_id,title\n" + "".join(f"{one},t\n" for one in ids)),
        ("i.jsonl", "".join(json.dumps({"item_id": one or None}) + "\n" for one in ids)),
    ):
        read = items_of(written(tmp_path / name, text))
        assert [one for (one,) in values(read, "item_id")] == list(dict.fromkeys(expected))
        assert any("an id such as 7.0 is read as 7" in one for one in read.remarks) == is_said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['Beauty', 'Skin']", ["Beauty", "Skin"]),
        ('["a", "it\'s"]', ["a", "it's"]),
        ("[['Home', \"it's\"], ['Office']]", ["Home", "it's", "Office"]),
        ("['Beauty' 'Skin']", ["Beauty", "Skin"]),
        ("['Beauty'\n 'Skin']", ["Beauty", "Skin"]),
        ("[array(['a', 'b'], dtype=object), array(['c'], dtype=object)]", ["a", "b", "c"]),
        ("['a', None, nan, 3]", ["a", "3"]),
        ("[]", []),
        ("[{'name': 'Home', 'id': 'h'}, {'name': 'Lamps'}]", ["Home", "Lamps"]),
        ('[{"text": "Home"}]', ["Home"]),
        ('[{"a": "x", "b": "y"}]', []),
        ("[Deluxe] C", None),
        ("['a'] and more", None),
        ("['a'", None),
        ("[a, b]", None),
        (r"['a', '\ud83d', 'b']", ["a", "b"]),
        (r'["\ud83d", "\ud83d\ude00"]', ["\U0001f600"]),
        ("plain", None),
    ],
)
def test_lists_in_text(text: str, expected: list[str] | None) -> None:
    found = parsed(text)
    assert (leaves(found) if isinstance(found, list) else None) == expected


ROWS: list[dict[str, Any]] = [
    {"item_id": "1", "title": ["A", "B"], "description": ["x"], "features": ["soft", "rich"], "categories": [["H", "L"], ["O"]]},
    {"item_id": "2", "title": ["C"], "description": [], "features": [], "categories": []},
]  # fmt: skip
LISTS = [("1", "A B", "soft rich x", ["H", "L", "O"]), ("2", "C", None, None)]


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "python csv", "json csv"])
def test_lists_come_out_alike_from_every_format(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"i.{kind.split()[-1]}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    elif kind == "json":
        path.write_text(json.dumps(ROWS, indent=1))
    elif kind == "parquet":
        pl.DataFrame(ROWS).write_parquet(path)
    else:
        text = str if kind.startswith("python") else json.dumps
        pl.DataFrame([{name: one if name == "item_id" else text(one) for name, one in row.items()} for row in ROWS]).write_csv(path)  # fmt: skip
    read = items_of(path, {"description": "features+description"})
    assert values(read, "item_id", "title", "description", "categories") == LISTS


def test_objects_in_lists(tmp_path: Path) -> None:
    row = {"item_id": "1", "categories": [{"name": "Home"}, {"name": "Lamps"}]}
    path = written(tmp_path / "i.jsonl", json.dumps(row))
    assert values(items_of(path), "categories") == [(["Home", "Lamps"],)]
    pl.DataFrame([row]).write_parquet(tmp_path / "i.parquet")
    assert values(items_of(tmp_path / "i.parquet"), "categories") == [(["Home", "Lamps"],)]
    odd = {"item_id": "1", "categories": [{"a": "x", "b": "y"}]}
    read = items_of(written(tmp_path / "odd.jsonl", json.dumps(odd)))
    assert (values(read, "categories"), read.odd) == (
        [(None,)],
        {"values of categories that hold objects or bytes, left out": 1},
    )
    assert values(items_of(tmp_path / "odd.jsonl", {"categories": "categories.b"}), "categories") == [(["y"],)]


NESTED = {
    "id": {"sku": "7"},
    "name": {"de": "Lampe", "en": "lamp"},
    "tags": [{"de": "A"}, {"de": "B"}],
    "more": {"brands": ["X", "Y"]},
}
PATHS = {"item_id": "id.sku", "title": "name.de", "categories": "tags.de", "brand": "more.brands.1"}


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "csv"])
def test_nested_fields(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"i.{kind}"
    if kind == "parquet":
        pl.DataFrame([NESTED]).write_parquet(path)
    elif kind == "jsonl":
        path.write_text(json.dumps(NESTED))
    else:
        pl.DataFrame([{name: str(one) for name, one in NESTED.items()}]).write_csv(path)
    read = items_of(path, PATHS)
    assert values(read, "item_id", "title", "categories", "brand") == [("7", "Lampe", ["A", "B"], "Y")]
    if kind != "csv":  # a column of text may hold anything
        with pytest.raises(InputError, match=r"no column name\.fr"):
            items_of(path, {**PATHS, "title": "name.fr"})


def test_an_object_as_title(tmp_path: Path) -> None:
    path = written(
        tmp_path / "i.jsonl", '{"item_id": "1", "title": {"name": "Lamp", "n": 1}, "brand": {"a": "x", "b": "y"}}'
    )
    read = items_of(path)
    assert values(read, "title", "brand") == [("Lamp", None)]
    assert read.odd == {"values of brand that hold objects or bytes, left out": 1}


def test_a_column_with_a_point_in_its_name_comes_first(tmp_path: Path) -> None:
    path = written(tmp_path / "i.jsonl", '{"item_id": "1", "name.de": "own", "name": {"de": "nested"}}')
    assert values(items_of(path, {"title": "name.de"}), "title") == [("own",)]


def test_bytes_of_a_title_are_text_where_they_are_utf8(tmp_path: Path) -> None:
    pl.DataFrame({"item_id": ["a", "b"], "title": [b"Caf\xc3\xa9", b"\xff"]}).write_parquet(tmp_path / "i.parquet")
    read = items_of(tmp_path / "i.parquet")
    assert values(read, "title") == [("Café",), (None,)]
    assert read.odd["values of title that hold objects or bytes, left out"] == 1
