"""Ingest of items: clean text, updates, snapshots, attributes; Amazon and MovieLens as downloaded."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from semconv.errors import InputError, SettingsError
from semconv.settings.gates import GateSettings
from semconv_warehouse.gates.gate import Guard
from semconv_warehouse.ingest import ingest_amazon, ingest_interactions, ingest_items, ingest_movielens
from semconv_warehouse.ingest.fields import without_html
from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds.paths import DATA
from tests.worlds.reading import reading


def jsonl(path: Path, *records: dict[str, Any]) -> Path:
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def items(store: DuckDBStore, columns: str = "item_id, title") -> list[tuple[Any, ...]]:
    with reading(store.layout.warehouse) as connection:
        return connection.execute(f"SELECT {columns} FROM item ORDER BY item_index").fetchall()


def available(store: DuckDBStore) -> dict[str, bool]:
    found = items(store, "item_id, is_available, removed_at IS NULL")
    assert all(is_available == is_not_removed for _, is_available, is_not_removed in found)
    return {item: is_available for item, is_available, _ in found}


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("caf&eacute; &#169; &#x2014;", "café © —"),
        ("one<br>two<BR/>three", "one two three"),
        ("<p>a</p><p class='x'>b</p>", "a b"),
        ("a <b>bold</b>, <i>old</i>", "a bold, old"),
        ("&lt;b&gt;x&lt;/b&gt;", "x"),
        ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("I <3 you", "I <3 you"),
        ("<script>alert('x')</script>kept<style>p {}</style>", "kept"),
        ("<!-- no -->yes", "yes"),
        ("buy <a_17><b_203> now", "buy now"),
        ("  a \n\t b\u00a0c ", "a b c"),
        ("AT&T", "AT&T"),
        ("bell\x07 nul\x00", "bell nul"),
        ("<br>", None),
        ("", None),
        (None, None),
    ],
)
def test_text_without_html(dirty: str | None, clean: str | None) -> None:
    frame = pl.DataFrame({"x": ["other &lt; row", dirty]}, schema={"x": pl.String})
    assert frame.select(without_html(pl.col("x")))["x"].to_list() == ["other < row", clean]


def test_known_columns_are_stored_and_others_become_attributes(store: DuckDBStore, tmp_path: Path) -> None:
    record = {
        "item_id": 5,
        "title": "T",
        "description": ["one", "two &amp; three"],
        "brand": "B",
        "categories": ["x", "y|z"],
    }
    path = jsonl(
        tmp_path / "i.jsonl.gz",
        record | {"price": 1.5, "n": {"a": [None, 1]}, "none": None},
        {"item_id": "6", "title": None},
    )
    report = ingest_items(store, [path], {})
    assert (report.added, report.odd) == (2, {"items without text": 1})
    first, second = items(store, "item_id, item_index, title, description, brand, categories, attributes::VARCHAR")
    assert first[:6] == ("5", 0, "T", "one two & three", "B", ["x", "y|z"])
    assert json.loads(first[6]) == {"price": 1.5, "n": {"a": [None, 1]}, "none": None}
    assert second == ("6", 1, None, None, None, None, None)


def test_csv_and_parquet_items(store: DuckDBStore, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text('sku,name,tags,price\n1,"A, b",x| y&amp;z |,9.5\n2,[Deluxe] C,"[""p"", ""q""]",\n')
    ingest_items(store, [tmp_path / "i.csv"], {"item_id": "sku", "title": "name", "categories": "tags"})
    assert items(store, "item_id, title, categories, attributes::VARCHAR") == [
        ("1", "A, b", ["x", "y&z"], '{"price":"9.5"}'),
        ("2", "[Deluxe] C", ["p", "q"], None),
    ]
    frame = pl.DataFrame(
        {"item_id": ["3"], "categories": [["x", None, " "]], "made": [pl.date(2020, 1, 2)], "w": [1.5]}, strict=False
    )
    frame = frame.with_columns(made=pl.date(2020, 1, 2))
    frame.write_parquet(tmp_path / "i.parquet")
    ingest_items(store, [tmp_path / "i.parquet"], {})
    assert items(store, "item_id, categories, attributes::VARCHAR")[2] == ("3", ["x"], '{"made":"2020-01-02","w":1.5}')


def test_metadata_completes_items_of_earlier_interactions(store: DuckDBStore, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("user_id,item_id,event_time\nu,b,1\nu,a,2\n")
    report = ingest_interactions(store, [tmp_path / "x.csv"], {})
    assert report.odd["item ids without metadata"] == 2
    report = ingest_items(
        store, [jsonl(tmp_path / "i.jsonl", {"item_id": "a", "title": "A"}, {"item_id": "c", "title": "C"})], {}
    )
    assert (report.added, report.updated) == (1, 1)
    assert items(store) == [("b", None), ("a", "A"), ("c", "C")]  # no index changes
    assert ingest_interactions(store, [tmp_path / "x.csv"], {}).odd["item ids without metadata"] == 1


def test_the_same_file_twice_and_a_changed_one(store: DuckDBStore, tmp_path: Path) -> None:
    record = {"item_id": "a", "title": "A", "description": "D", "categories": ["x"], "price": 1}
    path = jsonl(tmp_path / "i.jsonl", record, {"item_id": "b", "title": "B"})
    ingest_items(store, [path], {})
    before = store.content_hash("item")
    report = ingest_items(store, [path, path], {})
    assert (report.read, report.added, report.updated, report.duplicate) == (4, 0, 0, 4)
    assert store.content_hash("item") == before
    changed = jsonl(
        tmp_path / "j.jsonl", {"item_id": "a", "title": "A2", "categories": ["x", "y"]}, {"item_id": "b", "title": None}
    )
    report = ingest_items(store, [changed], {})
    assert (report.updated, report.duplicate) == (1, 1)
    assert items(store, "item_id, title, description, categories, attributes::VARCHAR") == [
        ("a", "A2", "D", ["x", "y"], '{"price":1}'),
        ("b", "B", None, None, None),
    ]


def test_the_last_row_of_an_item_wins(store: DuckDBStore, tmp_path: Path) -> None:
    rows = [{"item_id": "a", "title": "old"}, {"item_id": "b", "title": "B"}, {"item_id": "a", "title": "new"}]
    report = ingest_items(store, [jsonl(tmp_path / "i.jsonl", *rows)], {})
    assert (report.added, report.duplicate) == (2, 1)
    assert items(store) == [("a", "new"), ("b", "B")]


def test_a_snapshot_marks_absent_items_as_removed_and_restores_them(store: DuckDBStore, tmp_path: Path) -> None:
    both = jsonl(
        tmp_path / "both.jsonl", {"item_id": "a", "title": "A"}, {"item_id": "b", "title": "B", "description": "text"}
    )
    one = jsonl(tmp_path / "one.jsonl", {"item_id": "b", "title": "B", "description": ""})
    ingest_items(store, [both], {}, snapshot=True)
    report = ingest_items(store, [one], {}, snapshot=True)
    assert (report.removed, report.restored) == (1, 0)
    assert available(store) == {"a": False, "b": True}
    assert store.catalog().is_servable.tolist() == [False, True]
    assert store.catalog().descriptions == [None, None]  # a snapshot may empty a value
    assert ingest_items(store, [one], {}, snapshot=True).removed == 0
    report = ingest_items(store, [both], {}, snapshot=True)
    assert (report.removed, report.restored) == (0, 1)
    assert available(store) == {"a": True, "b": True}
    ingest_items(store, [one], {})
    assert available(store) == {"a": True, "b": True}  # not a snapshot, so no item is removed


@pytest.mark.parametrize(
    ("name", "content", "removed", "says"),
    [
        ("s.csv", "item_id,title\na,A\nb,Lamp, large,4\n", {"c"}, ""),  # b is in the file, in a row that is no use
        (
            "s.jsonl",
            '{"item_id": "a"}\n{"item_id": "b", "title":\n',
            set(),
            "rejected rows without a readable id (1) could be of any item",
        ),
    ],
)
def test_a_rejected_row_of_a_snapshot_removes_no_item(
    store: DuckDBStore, tmp_path: Path, name: str, content: str, removed: set[str], says: str
) -> None:
    ingest_items(store, [jsonl(tmp_path / "i.jsonl", *({"item_id": item} for item in "abc"))], {})
    (tmp_path / name).write_text(content)
    report = ingest_items(store, [tmp_path / name], {}, snapshot=True)
    assert sum(report.rejected.values()) == 1
    assert {item for item, is_available in available(store).items() if not is_available} == removed
    assert report.removed == len(removed)
    assert says in " ".join(report.remarks)
    report = ingest_items(store, [tmp_path / name], {}, snapshot=Guard(GateSettings(), is_forced=True))
    assert {item for item, is_available in available(store).items() if is_available} == {"a", *("b" if removed else "")}


def test_an_update_of_some_attributes_keeps_the_others(store: DuckDBStore, tmp_path: Path) -> None:
    first = jsonl(tmp_path / "1.jsonl", {"item_id": "a", "color": "red", "price": 5}, {"item_id": "b", "price": 1})
    ingest_items(store, [first], {})
    report = ingest_items(store, [jsonl(tmp_path / "2.jsonl", {"item_id": "a", "price": 6, "size": "L"})], {})
    assert report.updated == 1
    kept = {"color": "red", "price": 6, "size": "L"}
    assert json.loads(items(store, "attributes")[0][0]) == kept
    assert ingest_items(store, [tmp_path / "2.jsonl"], {}).updated == 0
    ingest_items(store, [jsonl(tmp_path / "3.jsonl", {"item_id": "a", "price": 7})], {}, snapshot=True)
    assert json.loads(items(store, "attributes")[0][0]) == {"price": 7}  # a snapshot replaces them


def test_rows_of_one_item_in_one_command_are_taken_together(store: DuckDBStore, tmp_path: Path) -> None:
    files = [
        jsonl(tmp_path / "1.jsonl", {"item_id": "z", "title": "Zed", "brand": "old", "color": "red"}, {"item_id": "y"}),
        jsonl(tmp_path / "2.jsonl", {"item_id": "z", "brand": "new", "size": "L"}),
    ]
    report = ingest_items(store, files, {})
    assert (report.read, report.added, report.duplicate) == (3, 2, 1)
    (item_id, title, brand, attributes), other = items(store, "item_id, title, brand, attributes")
    assert (item_id, title, brand, json.loads(attributes)) == ("z", "Zed", "new", {"color": "red", "size": "L"})
    assert other == ("y", None, None, None)


def test_rejected_rows_replace_no_input_and_no_file_of_the_project(store: DuckDBStore, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "i.jsonl", {"item_id": "a"}, {"item_id": None})
    before = path.read_bytes()
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    for target in (path, link):
        with pytest.raises(SettingsError, match="this is an input, which would be replaced"):
            ingest_items(store, [path], {}, rejected=target)
    for target in (store.layout.warehouse, store.layout.data / "new.csv"):
        with pytest.raises(SettingsError, match="lies among the project's own files"):
            ingest_items(store, [path], {}, rejected=target)
    assert path.read_bytes() == before
    assert available(store) == {}


def test_an_empty_snapshot_removes_nothing(store: DuckDBStore, tmp_path: Path) -> None:
    ingest_items(store, [jsonl(tmp_path / "i.jsonl", {"item_id": "a"})], {})
    for content in ("", "\n", "item_id,title\n", '{"item_id": null}\n'):
        for name in ("e.csv", "e.jsonl"):
            (tmp_path / name).write_text(content)
            with pytest.raises(InputError, match=name):
                ingest_items(store, [tmp_path / name], {}, snapshot=True)
    assert available(store) == {"a": True}


def test_rejected_items_and_wrong_columns(store: DuckDBStore, tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    path.write_text('{"item_id": "a"}\n{"title": "no id"}\n{oops\n')
    report = ingest_items(store, [path], {}, rejected=tmp_path / "r.jsonl")
    assert report.rejected == {"no item_id": 1, "malformed JSON": 1}
    assert [json.loads(line)["row"] for line in (tmp_path / "r.jsonl").read_text().splitlines()] == [2, 3]
    pl.DataFrame({"item_id": ["a"], "name": [{"x": 1}]}).write_parquet(tmp_path / "i.parquet")
    with pytest.raises(
        InputError, match=r"i.parquet: column name holds Struct.* name a part of it with --map, such as name.x"
    ):
        ingest_items(store, [tmp_path / "i.parquet"], {"title": "name"})
    with pytest.raises(InputError, match="no column item_id; it has title"):
        ingest_items(store, [jsonl(tmp_path / "k.jsonl", {"title": "x"})], {})


def amazon(folder: Path) -> tuple[Path, Path]:
    review = {
        "overall": 5.0,
        "reviewerID": "U",
        "asin": "B1",
        "reviewText": "Nice &amp; big",
        "summary": "Good",
        "unixReviewTime": 86400,
    }
    reviews = [
        review,
        review,  # Amazon repeats a review for each variant of a product
        {**review, "asin": "B0", "summary": None, "style": {"Color:": "red"}},
        {"reviewerID": "V", "asin": "B9", "overall": 1.0, "unixReviewTime": 5},
    ]
    meta = [
        {
            "asin": "B0",
            "title": "<b>Zero</b>",
            "description": ["First.", "Second&#39;s."],
            "brand": "X",
            "category": ["A", "B &amp; C"],
            "price": "$1",
        },
        {"asin": "B1", "title": "One", "description": [], "category": []},
    ]
    return jsonl(folder / "reviews.json.gz", *reviews), jsonl(folder / "meta.json.gz", *meta)


def test_amazon(store: DuckDBStore, tmp_path: Path) -> None:
    reviews, meta = amazon(tmp_path)
    report = ingest_amazon(store, reviews, meta)
    assert (report.kind, report.read, report.added, report.duplicate) == ("interactions+items", 6, 5, 1)
    assert report.odd == {"item ids without metadata": 1, "users with one interaction": 1, "times before 1980": 4}
    assert items(store, "item_id, title, description, brand, categories, attributes::VARCHAR") == [
        ("B0", "Zero", "First. Second's.", "X", ["A", "B & C"], '{"price":"$1"}'),
        ("B1", "One", None, None, None, None),
        ("B9", None, None, None, None, None),
    ]
    with store.read() as connection:
        found = connection.exec_driver_sql(
            "SELECT user_id, item_id, position, rating, query FROM interaction ORDER BY ALL"
        ).all()
    assert [tuple(row) for row in found] == [
        ("U", "B0", 1, 5.0, "Nice & big"),  # both are of one day, so the order of the file decides
        ("U", "B1", 0, 5.0, "Good Nice & big"),
        ("V", "B9", 0, 1.0, None),
    ]
    before = store.content_hash("item"), store.content_hash("interaction")
    assert ingest_amazon(store, reviews, meta).added == 0
    assert (store.content_hash("item"), store.content_hash("interaction")) == before


def test_a_bad_file_of_a_published_set_changes_nothing(store: DuckDBStore, tmp_path: Path) -> None:
    reviews, meta = amazon(tmp_path)
    meta.write_bytes(b"")
    with pytest.raises(InputError, match=r"meta\.json\.gz"):
        ingest_amazon(store, reviews, meta)
    meta.write_bytes(reviews.read_bytes())
    other = tmp_path / "other.jsonl"
    other.write_text('{"asin": "a"}\n')
    with pytest.raises(
        InputError, match=r"no column reviewerID, unixReviewTime, so it is not a file of the Amazon reviews"
    ):
        ingest_amazon(store, other, meta)
    assert items(store) == []


def test_movielens(store: DuckDBStore, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,10,2.5,1260759144\n1,20,4.0,1260759100\n")
    (tmp_path / "movies.csv").write_text(
        'movieId,title,genres\n20,"Net, The (1995)",Crime|Drama\n10,Odd,(no genres listed)\n'
    )
    report = ingest_movielens(store, tmp_path)
    assert (report.added, report.rejected) == (4, {})
    assert items(store, "item_id, title, categories") == [
        ("20", "Net, The (1995)", ["Crime", "Drama"]),
        ("10", "Odd", None),
    ]
    assert store.sequences().of(0).tolist() == [0, 1]
    with pytest.raises(InputError, match="no such folder"):
        ingest_movielens(store, tmp_path / "none")


@pytest.mark.skipif(
    not (DATA / "gift_cards").is_dir(), reason=f"no gift_cards in {DATA}; SEMCONV_TEST_DATA names the folder"
)
def test_gift_cards_as_downloaded(store: DuckDBStore) -> None:
    files = DATA / "gift_cards" / "Gift_Cards_5.json.gz", DATA / "gift_cards" / "meta_Gift_Cards.json.gz"
    report = ingest_amazon(store, *files)
    interactions, metadata = report.parts
    assert (interactions.read, interactions.rejected, metadata.added) == (2972, {}, 1547)
    assert not any("--map" in line for line in report.summary())  # the command has no such option
    lines = [json.loads(line) for line in gzip.decompress(files[0].read_bytes()).splitlines()]
    assert interactions.added == len({(row["reviewerID"], row["asin"], row["unixReviewTime"]) for row in lines})
    sequences = store.sequences(queries=True)
    assert len(sequences) == 458
    assert not any("&amp;" in query or "<br" in query for query in sequences.queries or [] if query)


@pytest.mark.skipif(
    not (DATA / "movielens").is_dir(), reason=f"no movielens in {DATA}; SEMCONV_TEST_DATA names the folder"
)
def test_movielens_as_downloaded(store: DuckDBStore) -> None:
    report = ingest_movielens(store, DATA / "movielens")
    assert [part.added for part in report.parts] == [100_004, 9_125]
    assert len(store.sequences()) == 671
