"""Files that strangers wrote: deep nesting, huge rows behind a small compressed file, long ids, odd numbers in JSON."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semconv.errors import InputError
from semconv_warehouse.ingest import IngestReport, ingest_interactions, ingest_items
from semconv_warehouse.ingest.fields import LONGEST_ID, TOO_DEEP
from semconv_warehouse.ingest.files import source, text_files
from semconv_warehouse.ingest.values.json_values import MOST_LEVELS, levels
from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds.reading import reading

DEEP = "[" * 1500
HEADER = "user_id,item_id,event_time\n"


def write(path: Path, text: str | bytes) -> Path:
    content = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def items(store: DuckDBStore, path: Path, **mapping: str) -> IngestReport:
    return ingest_items(store, [path], mapping)


def attributes(store: DuckDBStore) -> dict[str, Any]:
    with reading(store.layout.warehouse) as connection:
        rows = connection.execute("SELECT item_id, attributes::VARCHAR FROM item").fetchall()
    return {row[0]: row[1] and json.loads(row[1], parse_constant=pytest.fail) for row in rows}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("categories.csv", f"item_id,categories\ngood,a|b\nbad,{DEEP}\n"),
        ("closed.csv", f"item_id,categories\ngood,a|b\nbad,{DEEP}{']' * 1500}\n"),
        ("title.jsonl", '{"item_id": "good"}\n' + json.dumps({"item_id": "bad", "title": DEEP}) + "\n"),
        ("brand.jsonl.gz", '{"item_id": "good"}\n' + json.dumps({"item_id": "bad", "brand": f" {DEEP}"}) + "\n"),
        ("first.jsonl", f'{{"item_id": "bad", "x": {DEEP}{"]" * 1500}}}\n{{"item_id": "good"}}\n'),
        ("open.jsonl", f'{{"item_id": "bad", "x": {DEEP}\n{{"item_id": "good"}}\n'),
        ("object.jsonl", '{"item_id": "bad", "x": ' + '{"a":' * 1500 + "1" + "}" * 1501 + '\n{"item_id": "good"}\n'),
        ("latin.jsonl", b'{"item_id": "bad", "t": "\xe9", "x": ' + DEEP.encode() + b'\n{"item_id": "good"}\n'),
    ],
)
def test_a_row_with_deep_lists_is_rejected_alone(store: DuckDBStore, tmp_path: Path, name: str, text: str) -> None:
    report = items(store, write(tmp_path / name, text))
    assert (report.added, dict(report.rejected)) == (1, {TOO_DEEP: 1})
    assert set(attributes(store)) == {"good"}


def test_lists_up_to_the_limit_are_read(store: DuckDBStore, tmp_path: Path) -> None:
    deepest = "[" * (MOST_LEVELS - 1) + "]" * (MOST_LEVELS - 1)  # inside the object of the line
    lines = f'{{"item_id": "a", "x": {deepest}}}\n{{"item_id": "b", "x": [{deepest}]}}\n'
    report = items(store, write(tmp_path / "i.jsonl", lines))
    assert (report.added, dict(report.rejected)) == (1, {TOO_DEEP: 1})
    assert json.dumps(attributes(store)["a"]["x"], separators=(",", ":")) == deepest


def test_brackets_in_plain_text_are_no_levels(store: DuckDBStore, tmp_path: Path) -> None:
    assert levels('"[[[" [{"[": ["\\"["]}]') == 3
    text = "a" + "[" * 1500
    report = items(store, write(tmp_path / "i.jsonl", json.dumps({"item_id": "a", "title": text, "note": DEEP})))
    assert (report.added, report.rejected) == (1, {})
    assert attributes(store) == {"a": {"note": DEEP}}


@pytest.mark.parametrize("depth", [60, 200])
def test_parquet_with_deep_types_is_refused(store: DuckDBStore, tmp_path: Path, depth: int) -> None:
    kind: pa.DataType = pa.int64()
    for _ in range(depth):
        kind = pa.list_(kind)
    pq.write_table(pa.table({"item_id": ["i"], "deep": pa.array([None], kind)}), tmp_path / "i.parquet")
    with pytest.raises(InputError, match=r"i\.parquet: .*nested"):
        items(store, tmp_path / "i.parquet")
    with pytest.raises(InputError, match=r"i\.parquet: .*nested"):
        store.user_ids_file(tmp_path / "i.parquet")


def test_ids_have_a_largest_length(store: DuckDBStore, tmp_path: Path) -> None:
    longest = "é" * LONGEST_ID
    path = write(tmp_path / "e.csv", f"{HEADER}{longest},i,1\n{longest}x,i,1\nu,{longest}x,1\n")
    report = ingest_interactions(store, [path], {})
    assert report.added == 1
    assert report.rejected == {
        "user_id longer than 10,000 characters": 1,
        "item_id longer than 10,000 characters": 1,
    }
    path = write(tmp_path / "i.csv", f"item_id\n{longest}\n{longest}x\n")
    assert items(store, path).rejected == {"item_id longer than 10,000 characters": 1}


def test_attributes_are_strict_json(store: DuckDBStore, tmp_path: Path) -> None:
    nan, infinity = float("nan"), float("inf")
    pl.DataFrame(
        {
            "item_id": ["a", "b"],
            "price": [nan, 1.5],
            "size": [[infinity, 1.0, None], None],
            "box": [{"w": -infinity, "t": "NaN"}, {"w": 2.0, "t": None}],
        }
    ).write_parquet(tmp_path / "i.parquet")
    assert items(store, tmp_path / "i.parquet").added == 2
    assert attributes(store) == {
        "a": {"size": [None, 1.0, None], "box": {"t": "NaN"}},
        "b": {"price": 1.5, "box": {"w": 2.0}},
    }


def test_numbers_that_json_lacks_are_missing_values(store: DuckDBStore, tmp_path: Path) -> None:
    line = '{"item_id": "a", "price": NaN, "sizes": [1, -Infinity], "title": "NaN Infinity", "note": "is \\"NaN"}\n'
    assert items(store, write(tmp_path / "i.jsonl", line)).rejected == {}
    assert attributes(store) == {"a": {"price": None, "sizes": [1, None], "note": 'is "NaN'}}


@pytest.mark.parametrize(
    ("name", "text", "row"),
    [
        ("e.jsonl", '{"user_id": "u"}\n' + "x" * 5000, 2),
        ("e.csv", f"{HEADER}u,i,1\nu,{'x' * 5000},1\n", 3),
        ("quote.csv", f'{HEADER}u,"i,1\n' + "u,i,1\n" * 1000, 2),
        ("line breaks.csv", f'{HEADER}u,"i\ni",1\nu,"{"x" * 5000}",1\n', 3),
        ("header.csv", "x" * 5000, 1),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_row_has_a_largest_size(
    store: DuckDBStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, row: int, suffix: str
) -> None:
    monkeypatch.setattr(text_files, "LONGEST_ROW", 4096)
    monkeypatch.setattr(text_files, "_BLOCK", 512)
    with pytest.raises(InputError, match=rf"{name}.*: row {row} is longer than"):
        ingest_interactions(store, [write(tmp_path / f"{name}{suffix}", text)], {})


def test_rows_of_many_blocks_are_read(store: DuckDBStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "LONGEST_ROW", 64)
    monkeypatch.setattr(text_files, "_BLOCK", 7)
    rows = "".join(f'"u{number}","an\n""item""",{number}\n' for number in range(1, 50))
    assert ingest_interactions(store, [write(tmp_path / "e.csv", HEADER + rows)], {}).added == 49
    lines = "".join(f'{{"item_id": "\xe9{number}"}}\n' for number in range(50))
    report = items(store, write(tmp_path / "i.jsonl.gz", (lines + "no json").encode("latin-1")))
    assert (report.added, dict(report.rejected)) == (50, {"malformed JSON": 1})
    assert "é49" in attributes(store)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_has_a_largest_number_of_columns(
    store: DuckDBStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(source, "MOST_COLUMNS", 100)
    for number in (100, 101):
        frame = pl.DataFrame({"item_id": ["i"], **{f"c{index}": [1] for index in range(number - 1)}})
        path = tmp_path / f"{number}.{kind}"
        frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    assert items(store, tmp_path / f"100.{kind}").added == 1
    with pytest.raises(InputError, match="101 columns, but at most 100 can be read"):
        items(store, tmp_path / f"101.{kind}")


def test_messages_cut_long_names_and_many_names(store: DuckDBStore, tmp_path: Path) -> None:
    names = ["x" * 100_000, *(f"c{number}" for number in range(200))]
    path = write(tmp_path / "e.csv", f"user_id,event_time,{','.join(names)}\nu,1\n")
    with pytest.raises(InputError, match=r"no column item_id; it has .* and 153 more") as error:
        ingest_interactions(store, [path], {})
    assert len(str(error.value)) < 2000
    with pytest.raises(InputError, match=r"no column y*…; it has") as error:
        ingest_interactions(store, [path], {"item_id": "y" * 100_000})
    assert len(str(error.value)) < 2000


@pytest.mark.parametrize("start", [b"\x28\xb5\x2f\xfd", b"x\x9c"])
def test_other_compression_is_refused(store: DuckDBStore, tmp_path: Path, start: bytes) -> None:
    with pytest.raises(InputError, match="compressed, but not with gzip"):
        items(store, write(tmp_path / "i.csv", start + b"item_id\n1\n"))


def test_rejected_rows_are_written_without_formulas(store: DuckDBStore, tmp_path: Path) -> None:
    path = write(tmp_path / "i.jsonl", '=cmd()\n{"item_id": "i"}\n')
    for no_formulas, record in ((True, "'=cmd()"), (False, "=cmd()")):
        ingest_items(store, [path], {}, rejected=tmp_path / "r.csv", no_formulas=no_formulas)
        assert pl.read_csv(tmp_path / "r.csv")["record"].to_list() == [record]


def test_every_batch_of_rejected_rows_is_written_once(
    store: DuckDBStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "_BLOCK", 64)
    lines = "".join(f'{{"user_id": "\xe9", "n": {number}}}\n' for number in range(100))
    path = write(tmp_path / "e.jsonl", lines.encode("latin-1") + b'{"user_id": "u", "item_id": "i", "event_time": 1}')
    for name in ("r.csv", "r.jsonl"):
        report = ingest_interactions(store, [path], {}, rejected=tmp_path / name)
        assert report.rejected == {"no item_id": 100}
        read = pl.read_csv if name == "r.csv" else pl.read_ndjson
        assert read(tmp_path / name)["row"].to_list() == list(range(1, 101))


def test_a_file_name_that_is_not_utf8_is_refused_in_one_line(store: DuckDBStore, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"items\xff.csv")
    file.write_text("item_id,title\ni1,lamp\n")
    with pytest.raises(InputError, match="the path holds bytes that are not UTF-8; rename the file") as refusal:
        ingest_items(store, [file], {})
    assert "\n" not in str(refusal.value)
