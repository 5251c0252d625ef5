"""Exports with unusual values whose right reading is known: long numbers, arrays of PostgreSQL, cut files, bytes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from semconv.errors import InputError
from semconv_warehouse.ingest.items import ingest_items
from semconv_warehouse.ingest.values.json_values import repaired_json
from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds.small_files import events_of, items_of, values, written

LONG = "12345678901234567890123"


def test_ids_that_are_long_numbers_of_json_keep_their_digits(store: DuckDBStore, tmp_path: Path) -> None:
    lines = f'{{"user_id": {LONG}, "item_id": -{LONG[:-1]}4, "event_time": 1}}\n'
    read = events_of(store, written(tmp_path / "e.jsonl", lines))
    assert values(read, "user_id", "item_id") == [(LONG, f"-{LONG[:-1]}4")]


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        (f'{{"a":{LONG}}}', f'{{"a":"{LONG}"}}'),
        (f'{{"a":[1,-{LONG}]}}', f'{{"a":[1,"-{LONG}"]}}'),
        (f'{{"a":"{LONG}"}}', f'{{"a":"{LONG}"}}'),
        (f'{{"a":0.{LONG}}}', f'{{"a":0.{LONG}}}'),
        (f'{{"a":{LONG}.5}}', f'{{"a":{LONG}.5}}'),
        (f'{{"a":{LONG}e2}}', f'{{"a":{LONG}e2}}'),
        ('{"a":1234567890123456789}', '{"a":1234567890123456789}'),
        ('{"a":1e999,"b":-1.5E+400}', '{"a":null,"b":null}'),
        ('{"a":1e308,"b":1e0007,"c":1e-999}', '{"a":1e308,"b":1e0007,"c":1e-999}'),
        ('{"a":"1e999"}', '{"a":"1e999"}'),
    ],
)
def test_numbers_that_readers_of_json_would_change(text: str, repaired: str) -> None:
    assert repaired_json(text) == repaired


@pytest.mark.parametrize(
    ("text", "categories"),
    [
        ('{Home,"Lamps, large",NULL}', ["Home", "Lamps, large"]),
        ("{Home}", ["Home"]),
        ("{{Home,Lamps},{Garden,Tools}}", ["Home", "Lamps", "Garden", "Tools"]),
        ('{"12\\" lamps","a\\\\b"}', ['12" lamps', "a\\b"]),
        ("{}", None),
        ("{NULL}", None),
        ("('Home', 'Lamps')", ["Home", "Lamps"]),
        ("(Old) things", ["(Old) things"]),
        ("(1)", ["(1)"]),
        ("{not closed", ["{not closed"]),
        ("{a} b", ["{a} b"]),
    ],
)
def test_categories_as_other_programs_print_them(tmp_path: Path, text: str, categories: list[str] | None) -> None:
    pl.DataFrame({"item_id": ["a"], "categories": [text]}).write_csv(tmp_path / "i.csv")
    assert values(items_of(tmp_path / "i.csv"), "categories") == [(categories,)]


@pytest.mark.parametrize(("ending", "sign"), [(".csv", ","), (".csv", ";"), (".csv.gz", ",")])
def test_a_quote_that_is_never_closed_names_its_row(tmp_path: Path, ending: str, sign: str) -> None:
    text = f'item_id{sign}title\ni0{sign}"a\nb"\ni1{sign}"open never closed\ni2{sign}B\n'.encode()
    path = written(tmp_path / f"i{ending}", gzip.compress(text) if ending.endswith(".gz") else text)
    with pytest.raises(InputError, match="row 3 has a double quote that is never closed"):
        items_of(path)


def test_a_quote_that_is_never_closed_is_a_sign_between_tabs(tmp_path: Path) -> None:
    read = items_of(written(tmp_path / "i.tsv", 'item_id\ttitle\ni1\t"12 inch\ni2\tB\n'))
    assert values(read, "item_id", "title") == [("i1", '"12 inch'), ("i2", "B")]


def test_bytes_that_are_read_are_not_called_left_out(store: DuckDBStore, tmp_path: Path) -> None:
    rows: dict[str, list[Any]] = {
        "item_id": ["a", "b"], "title": [b"A", b"B"], "brand": [b"\xff", b"ok"], "image": [b"1", b"2"],
    }  # fmt: skip
    pl.DataFrame(rows).write_parquet(tmp_path / "i.parquet")
    report = ingest_items(store, [tmp_path / "i.parquet"], {})
    assert report.left_out == ("image",)
    assert report.odd == {"values of brand that hold objects or bytes, left out": 1}


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([b"\xff\xfe"], "item_id of bytes that are not UTF-8"),
        ([b""], "no item_id"),
        ([b"  "], "no item_id"),
        ([None], "no item_id"),
        ([bytes(15) + b"\x01"], "item_id of bytes with a zero byte"),
    ],
)
def test_ids_of_bytes_are_rejected_with_the_right_reason(
    store: DuckDBStore, tmp_path: Path, ids: list[bytes | None], reason: str
) -> None:
    frame = pl.DataFrame({"user_id": [b"u", b"v"], "item_id": [b"i", *ids], "event_time": [1, 2]})
    frame.write_parquet(tmp_path / "e.parquet")
    assert events_of(store, tmp_path / "e.parquet").rejected == {reason: 1}


def test_ids_in_scientific_notation_are_remarked(store: DuckDBStore, tmp_path: Path) -> None:
    rows = "user_id,item_id,event_time\n1e15,1E5,2024-01-01\n7,AB,2024-01-02\n"
    read = events_of(store, written(tmp_path / "e.csv", rows))
    assert values(read, "user_id", "item_id") == [("1e15", "1E5"), ("7", "AB")]
    (remark,) = read.remarks  # the items have names, so 1E5 may be one
    assert remark.startswith("the ids of column user_id are numbers, some in scientific notation such as 1e15")


def test_other_shapes_get_advice(store: DuckDBStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its rows are no JSON objects with keys; write an object for each row"):
        items_of(written(tmp_path / "i.json", '[["item_id", "title"], ["a", "A"]]'))
    with pytest.raises(InputError, match="it seems to have no header; give --no-header"):
        events_of(store, written(tmp_path / "e.csv", "u1;i1;2024-01-01\nu2;i2;2024-01-02\n"))
