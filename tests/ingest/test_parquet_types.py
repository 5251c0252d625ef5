"""Columns of Parquet that JSON cannot hold: bytes are left out and reported, and nothing makes polars panic."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semconv.errors import InputError
from semconv_warehouse.ingest import ingest_interactions, ingest_items
from semconv_warehouse.ingest.sql_source import Query, spooled_query
from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds.reading import reading

BYTES = b"\x00\xff"
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# Type, value, its part in JSON (None: nothing), and the names of what is left out.
CASES: dict[str, tuple[pa.DataType, Any, Any, list[str]]] = {
    "binary": (pa.binary(), BYTES, None, ["x"]),
    "large binary": (pa.large_binary(), BYTES, None, ["x"]),
    "binary view": (pa.binary_view(), BYTES, None, ["x"]),
    "fixed size binary": (pa.binary(2), BYTES, None, ["x"]),
    "uuid": (pa.uuid(), bytes(16), "00000000-0000-0000-0000-000000000000", []),
    "dictionary": (pa.dictionary(pa.int32(), pa.binary()), BYTES, None, ["x"]),
    "list": (pa.list_(pa.binary()), [BYTES, None], None, ["x"]),
    "large list": (pa.large_list(pa.large_binary()), [BYTES], None, ["x"]),
    "fixed size list": (pa.list_(pa.binary(), 2), [BYTES, None], None, ["x"]),
    "map": (pa.map_(pa.string(), pa.binary()), [("k", BYTES)], None, ["x"]),
    "image": (IMAGE, {"bytes": BYTES, "path": "a"}, {"path": "a"}, ["x.bytes"]),
    "struct of bytes": (pa.struct([("a", pa.binary()), ("b", pa.list_(pa.binary()))]), {"a": BYTES}, None, ["x.a", "x.b"]),
    "images": (pa.list_(IMAGE), [{"bytes": BYTES, "path": "a"}, None], [{"path": "a"}, None], ["x.bytes"]),
    "pages of images": (pa.list_(pa.list_(IMAGE, 1)), [[{"path": "a"}], None], [[{"path": "a"}], None], ["x.bytes"]),
    "struct in a struct": (pa.struct([("image", IMAGE), ("n", pa.int8())]), {"image": None, "n": 1}, {"image": None, "n": 1}, ["x.image.bytes"]),
    "numbers of a map": (pa.map_(pa.string(), pa.int64()), [("k", 1)], {"k": 1}, []),
    "member without a name": (pa.struct([("", pa.int8()), ("b", pa.int8())]), {"": 1, "b": 2}, {"b": 2}, []),
    "half": (pa.float16(), 1.5, 1.5, []),
    "halves": (pa.list_(pa.float16()), [1.5, None], [1.5, None], []),
    "decimal in a struct": (pa.struct([("d", pa.decimal128(20, 2))]), {"d": Decimal("1.50")}, {"d": 1.5}, []),
    "numbers of a fixed size list": (pa.list_(pa.int8(), 2), [1, 2], [1, 2], []),
    "empty list": (pa.list_(pa.null()), [None], [None], []),
}  # fmt: skip


def write(folder: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), folder / "x.parquet")
    return folder / "x.parquet"


def attributes(store: DuckDBStore) -> list[dict[str, Any]]:
    with reading(store.layout.warehouse) as connection:
        found = connection.execute("SELECT attributes::VARCHAR FROM item ORDER BY item_index").fetchall()
    return [{} if text is None else json.loads(text) for (text,) in found]


def without_none(value: Any) -> Any:
    """A value as ``attributes`` have it: members that are null are dropped, elements of lists are not."""
    if isinstance(value, dict):
        return {name: without_none(part) for name, part in value.items() if part is not None}
    return value


@pytest.mark.parametrize("name", CASES)
def test_an_item_keeps_everything_but_bytes(store: DuckDBStore, tmp_path: Path, name: str) -> None:
    kind, value, part, left_out = CASES[name]
    file = write(tmp_path, item_id=["a", "b"], title=["A", "B"], x=pa.array([value, None], kind))
    report = ingest_items(store, [file], {})
    assert (report.added, report.left_out) == (2, tuple(left_out))
    assert attributes(store) == [{} if part is None else {"x": without_none(part)}, {}]
    assert any("left out of the attributes: " in line for line in report.summary()) == bool(left_out)
    again = ingest_items(store, [file], {})
    assert (again.added, again.updated) == (0, 0)


def test_the_record_of_a_rejected_row_keeps_everything_but_bytes(store: DuckDBStore, tmp_path: Path) -> None:
    columns = {name: pa.array([None, value], kind) for name, (kind, value, _, _) in CASES.items()}
    file = write(tmp_path, user_id=["u", None], item_id=["a", "b"], event_time=[1, 2], **columns)
    report = ingest_interactions(store, [file], {}, rejected=tmp_path / "rejected.jsonl")
    assert (report.added, report.rejected, report.unused_columns) == (1, {"no user_id": 1}, tuple(CASES))
    (line,) = (tmp_path / "rejected.jsonl").read_text().splitlines()
    record = json.loads(json.loads(line)["record"])
    expected = {name: part for name, (_, _, part, _) in CASES.items() if part is not None}
    expected["decimal in a struct"] = {"d": "1.50"}
    assert record == {"user_id": None, "item_id": "b", "event_time": 2, **expected}


@pytest.mark.parametrize("name", ["list", "large list", "fixed size list", "map", "struct of bytes", "pages of images"])
def test_nested_bytes_are_no_value_of_any_known_column(store: DuckDBStore, tmp_path: Path, name: str) -> None:
    kind, value, _, _ = CASES[name]
    bad = pa.array([value], kind)
    for column in (
        ("item_id",) if name == "pages of images" else ("item_id", "title", "description", "brand", "categories")
    ):
        file = write(tmp_path, **{"item_id": ["a"], column: bad})
        with pytest.raises(InputError, match=rf"x\.parquet: column {column} holds .* instead of text"):
            ingest_items(store, [file], {})
    text = () if name == "pages of images" else ("query",)  # the paths of the images are a text
    for column in ("user_id", "item_id", "event_time", "source_position", "rating", *text):
        usual = {"user_id": ["u"], "item_id": ["a"], "event_time": [1], "source_position": [1]}
        file = write(tmp_path, **{**usual, column: bad})
        with pytest.raises(InputError, match=rf"x\.parquet: column {column} holds .* instead of "):
            ingest_interactions(store, [file], {})
    assert attributes(store) == []


def test_a_file_of_nothing_but_bytes_lacks_its_columns(store: DuckDBStore, tmp_path: Path) -> None:
    file = write(tmp_path, thumb=pa.array([BYTES], pa.binary()))
    with pytest.raises(InputError, match="no column item_id; it has thumb"):
        ingest_items(store, [file], {})
    with pytest.raises(InputError, match="none of 1 rows can be used"):
        ingest_items(store, [file], {"item_id": "thumb"})


def test_types_that_polars_cannot_read_are_named(
    store: DuckDBStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "interval.parquet"
    with duckdb.connect() as connection:
        connection.sql("SELECT 'a' AS item_id, {'age': INTERVAL 1 DAY} AS span").write_parquet(str(path))
    with pytest.raises(InputError, match=r"interval\.parquet: column span\.age holds intervals"):
        ingest_items(store, [path], {})
    long = write(tmp_path, item_id=["a"], price=pa.array([Decimal("1.50")], pa.decimal256(50, 2)))
    with pytest.raises(InputError, match="column price holds decimals of more than 38 digits"):
        ingest_items(store, [long], {})
    assert "panic" not in capfd.readouterr().err


def test_numbers_of_128_bits_are_attributes(store: DuckDBStore, tmp_path: Path) -> None:
    frame = pl.DataFrame({"item_id": ["a"], "x": [2**100], "y": [[2**100]]}, {"item_id": pl.String, "x": pl.Int128, "y": pl.List(pl.UInt128)})  # fmt: skip
    frame.write_parquet(tmp_path / "x.parquet")
    ingest_items(store, [tmp_path / "x.parquet"], {})
    assert attributes(store) == [{"x": str(2**100), "y": [str(2**100)]}]


def test_a_column_of_json_is_text(store: DuckDBStore, tmp_path: Path) -> None:
    text = pa.array(['["x", "y"]'], pa.string())
    file = write(tmp_path, item_id=["a"], categories=pa.ExtensionArray.from_storage(pa.json_(), text))
    ingest_items(store, [file], {})
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT categories FROM item").scalars().all() == [["x", "y"]]


def test_names_that_differ_in_case_alone_are_two_attributes(store: DuckDBStore, tmp_path: Path) -> None:
    ingest_items(store, [write(tmp_path, item_id=["a"], price=[1], Price=[2])], {})
    assert attributes(store) == [{"price": 1, "Price": 2}]


def test_bytes_of_a_database_are_left_out(store: DuckDBStore, tmp_path: Path) -> None:
    database = tmp_path / "shop.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE product (item_id TEXT, title TEXT, thumb BLOB)")
        connection.execute("INSERT INTO product VALUES ('a', 'A', x'00ff')")
    with spooled_query(Query(f"sqlite:///{database}", "SELECT * FROM product"), store.layout.data) as rows:
        report = ingest_items(store, [rows], {})
    assert (report.added, report.left_out, attributes(store)) == (1, ("thumb",), [{}])
