"""Ingest of interactions: kinds of files, order, duplicates, rejected rows and refused files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semconv.errors import InputError, SettingsError
from semconv_warehouse.ingest import ingest_interactions
from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds.fresh_store import fresh_store
from tests.worlds.reading import reading


def csv(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def rows(store: DuckDBStore, columns: str = "user_id, item_id, position") -> list[tuple[Any, ...]]:
    with reading(store.layout.warehouse) as connection:
        return connection.execute(f"SELECT {columns} FROM interaction ORDER BY user_id, position").fetchall()


def indices(store: DuckDBStore) -> tuple[list[str], list[str]]:
    with reading(store.layout.warehouse) as connection:
        users = connection.execute("SELECT user_id FROM user_account ORDER BY user_index").fetchall()
        items = connection.execute("SELECT item_id FROM item ORDER BY item_index").fetchall()
    return [user for (user,) in users], [item for (item,) in items]


def state(store: DuckDBStore) -> tuple[Any, ...]:
    with store.snapshot():
        hashes = store.content_hash("item"), store.content_hash("interaction")
    return hashes, indices(store), rows(store)


RECORDS = [
    {"user_id": "u1", "item_id": "b", "event_time": 1_600_000_100, "rating": 4.5, "query": "a &amp; b"},
    {"user_id": "u0", "item_id": "a", "event_time": 1_600_000_000, "rating": 1.0, "query": None},
    {"user_id": "u1", "item_id": "a", "event_time": 1_600_000_000, "rating": None, "query": "<b>bold</b>"},
]


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "tsv", "jsonl", "jsonl.gz", "json", "ndjson"])
def test_every_kind_of_file_gives_the_same_tables(store: DuckDBStore, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind}"
    frame = pl.DataFrame(RECORDS)
    if kind == "parquet":
        frame.write_parquet(path)
    elif "json" in kind:
        text = "".join(json.dumps({k: v for k, v in record.items() if v is not None}) + "\n" for record in RECORDS)
        path.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    else:
        text = frame.write_csv(separator="\t" if kind == "tsv" else ",")
        path.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    report = ingest_interactions(store, [path], {})
    assert (report.read, report.added, report.duplicate, report.rejected) == (3, 3, 0, {})
    early, late = datetime(2020, 9, 13, 12, 26, 40), datetime(2020, 9, 13, 12, 28, 20)  # noqa: DTZ001
    assert rows(store, "user_id, item_id, position, event_time, rating, query") == [
        ("u0", "a", 0, early, 1.0, None),
        ("u1", "a", 0, early, None, "bold"),
        ("u1", "b", 1, late, 4.5, "a & b"),
    ]
    assert indices(store) == (["u1", "u0"], ["b", "a"])  # first appearance in the file


@pytest.mark.parametrize(
    "values",
    [
        ["1600000000", "1600000100"],
        ["1600000000000", "1600000100000"],
        ["1600000000.0", "1600000100.0"],
        ["2020-09-13T12:26:40Z", "2020-09-13T12:28:20Z"],
        ["2020-09-13 12:26:40", "2020-09-13 12:28:20.000"],
        ["2020-09-13T14:26:40+02:00", "2020-09-13 14:28:20+0200"],
        [1_600_000_000, 1_600_000_100],
        [1_600_000_000_000_000, 1_600_000_100_000_000],
        [datetime(2020, 9, 13, 12, 26, 40), datetime(2020, 9, 13, 12, 28, 20)],  # noqa: DTZ001
        [datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC), datetime(2020, 9, 13, 12, 28, 20, tzinfo=UTC)],
    ],
)
def test_times_in_every_form(store: DuckDBStore, tmp_path: Path, values: list[Any]) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"user_id": ["u", "u"], "item_id": ["b", "a"], "when": values}).write_parquet(path)
    ingest_interactions(store, [path], {"event_time": "when"})
    assert rows(store, "item_id, epoch(event_time)") == [("b", 1_600_000_000), ("a", 1_600_000_100)]


def test_dates_and_minutes_and_zoned_datetimes(store: DuckDBStore, tmp_path: Path) -> None:
    path = csv(
        tmp_path, "x.csv", "user_id,item_id,event_time", "u,a,2020-09-13", "u,b,2020-09-13 12:26", "u,c,1969-12-31"
    )
    ingest_interactions(store, [path], {})
    assert rows(store, "item_id, epoch(event_time)") == [("c", -86400), ("a", 1599955200), ("b", 1599999960)]
    zoned = pl.DataFrame({"user_id": ["z"], "item_id": ["a"], "event_time": [datetime(2020, 1, 1, 9)]})  # noqa: DTZ001
    zoned.with_columns(pl.col("event_time").dt.replace_time_zone("Asia/Tokyo")).write_parquet(tmp_path / "z.parquet")
    ingest_interactions(store, [tmp_path / "z.parquet"], {})
    assert ("z", datetime(2020, 1, 1)) in rows(store, "user_id, event_time")  # noqa: DTZ001


def test_whole_number_ids_are_text(store: DuckDBStore, tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": [7, 8], "item_id": [1.0, None], "event_time": [1, 2]})
    frame.write_parquet(tmp_path / "x.parquet")
    report = ingest_interactions(store, [tmp_path / "x.parquet"], {})
    assert rows(store) == [("7", "1", 0)]
    assert report.rejected == {"no item_id": 1}


def test_ties_of_time_keep_the_order_of_the_file(store: DuckDBStore, tmp_path: Path) -> None:
    lines = [f"u,i{row},5" for row in range(50)]
    ingest_interactions(store, [csv(tmp_path, "a.csv", "user_id,item_id,event_time", *lines)], {})
    later = csv(tmp_path, "b.csv", "user_id,item_id,event_time", "u,z,5", "u,first,4", "u,y,5")
    ingest_interactions(store, [later], {})
    assert [item for item, _ in rows(store, "item_id, position")] == ["first", *(f"i{n}" for n in range(50)), "z", "y"]


def test_source_position_orders_the_sequence(store: DuckDBStore, tmp_path: Path) -> None:
    path = csv(tmp_path, "a.csv", "user_id,item_id,event_time,number", "u,a,9,7", "u,b,8,30", "u,c,10,-2", "v,a,,0")
    ingest_interactions(store, [path], {"source_position": "number"})
    assert rows(store, "item_id, position, source_position") == [("c", 0, -2), ("a", 1, 7), ("b", 2, 30), ("a", 0, 0)]
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT * FROM project_setting").all() == [("order_by", "source_position")]


def test_the_same_file_twice_changes_nothing(store: DuckDBStore, tmp_path: Path) -> None:
    for header, line in (("event_time", "u,{item},{position}"), ("source_position", "v,{item},{position}")):
        folder = tmp_path / header
        path = csv(
            tmp_path,
            f"{header}.csv",
            f"user_id,item_id,{header}",
            *(line.format(item=f"i{n}", position=n) for n in range(5)),
        )
        own = fresh_store(folder, store.layout.warehouse)
        ingest_interactions(own, [path], {})
        before = state(own)
        report = ingest_interactions(own, [path, path], {})
        assert (report.added, report.duplicate, report.read) == (0, 10, 10)
        assert state(own) == before


def test_a_second_file_extends_the_sequences_of_its_own_users(store: DuckDBStore, tmp_path: Path) -> None:
    first = csv(tmp_path, "a.csv", "user_id,item_id,event_time", "u,a,10", "u,b,30", "v,a,10")
    second = csv(tmp_path, "b.csv", "user_id,item_id,event_time", "u,c,20", "u,b,30", "w,d,5", "u,a,40")
    ingest_interactions(store, [first], {})
    report = ingest_interactions(store, [second], {})
    assert (report.added, report.duplicate) == (3, 1)
    assert rows(store) == [("u", "a", 0), ("u", "c", 1), ("u", "b", 2), ("u", "a", 3), ("v", "a", 0), ("w", "d", 0)]
    assert indices(store) == (["u", "v", "w"], ["a", "b", "c", "d"])  # known ids keep their index


def test_two_files_at_once_equal_one_after_the_other(store: DuckDBStore, tmp_path: Path) -> None:
    other = fresh_store(tmp_path / "other", store.layout.warehouse)
    first = csv(tmp_path, "a.csv", "user_id,item_id,event_time", "u,a,10", "u,b,30")
    second = csv(tmp_path, "b.csv", "item_id,user_id,event_time,rating", "c,u,30,1", "a,v,1,2")
    ingest_interactions(store, [first], {})
    ingest_interactions(store, [second], {})
    ingest_interactions(other, [first, second], {})
    assert state(store) == state(other)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    events=st.lists(
        st.tuples(st.sampled_from("uvw"), st.sampled_from("abcd"), st.integers(0, 4)), min_size=1, max_size=25
    ),
    cut=st.integers(0, 25),
)
def test_positions_are_dense_and_in_order_however_the_rows_come(
    empty: Path, tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, str, int]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("property")
    store = fresh_store(folder, empty)
    for part in (events[:cut], events[cut:], events):
        if part:
            lines = (f"{user},{item},{moment}" for user, item, moment in part)
            ingest_interactions(store, [csv(folder, "x.csv", "user_id,item_id,event_time", *lines)], {})
    expected: dict[str, list[tuple[int, str]]] = {}
    for user, item, moment in dict.fromkeys(events):
        expected.setdefault(user, []).append((moment, item))
    for user, sequence in expected.items():
        ordered = [item for _, item in sorted(sequence, key=lambda pair: pair[0])]
        assert [(item, position) for who, item, position in rows(store) if who == user] == [
            (item, position) for position, item in enumerate(ordered)
        ]


def test_rows_can_be_ordered_as_in_the_file(store: DuckDBStore, tmp_path: Path) -> None:
    path = csv(tmp_path, "a.csv", "user_id,item_id", "u,b", "u,a", "v,a", "u,b")
    with pytest.raises(InputError, match="--order file"):
        ingest_interactions(store, [path], {})
    ingest_interactions(store, [path], {}, order_by_file=True)
    assert rows(store) == [("u", "b", 0), ("u", "a", 1), ("u", "b", 2), ("v", "a", 0)]
    before = state(store)
    assert ingest_interactions(store, [path], {}, order_by_file=True).added == 0
    assert state(store) == before
    longer = csv(tmp_path, "b.csv", "user_id,item_id", "u,b", "u,a", "v,a", "u,b", "u,b", "u,c")
    assert ingest_interactions(store, [longer], {}, order_by_file=True).added == 2
    assert rows(store)[:5] == [("u", "b", 0), ("u", "a", 1), ("u", "b", 2), ("u", "b", 3), ("u", "c", 4)]


def test_the_first_ingest_fixes_the_order(store: DuckDBStore, tmp_path: Path) -> None:
    ingest_interactions(store, [csv(tmp_path, "a.csv", "user_id,item_id,source_position", "u,a,0")], {})
    before = state(store)
    timed = csv(tmp_path, "b.csv", "user_id,item_id,event_time", "u,b,1")
    with pytest.raises(InputError, match=r"b.csv.*no column source_position"):
        ingest_interactions(store, [timed], {})
    with pytest.raises(InputError, match="leave out --order file"):
        ingest_interactions(store, [timed], {}, order_by_file=True)
    assert state(store) == before


@pytest.mark.parametrize("lines", [["u,x,1"], ["u,c,2", "u,x,1"], ["u,c,5", "u,d,5"]])
def test_a_position_taken_by_another_item_is_refused(store: DuckDBStore, tmp_path: Path, lines: list[str]) -> None:
    header = "user_id,item_id,source_position"
    ingest_interactions(store, [csv(tmp_path, "a.csv", header, "u,a,0", "u,b,1")], {})
    before = state(store)
    with pytest.raises(InputError, match=r"1 positions have two items; the first is .* of user u"):
        ingest_interactions(store, [csv(tmp_path, "b.csv", header, *lines)], {})
    assert state(store) == before


def test_rejected_rows_are_counted_shown_and_written(store: DuckDBStore, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    lines = [
        '{"user_id": "u", "item_id": "a", "event_time": 1}',
        '{"user_id": "", "item_id": "a", "event_time": 1}',
        '{"user_id": "u", "event_time": 1}',
        '{"user_id": "u", "item_id": "b", "event_time": "yesterday"}',
        '{"user_id": "u", "item_id": "b"}',
        "{broken",
        "",
        "[1, 2]",
        '{"user_id": "u", "item_id": "c", "event_time": 2, "rating": "NaN"}',
    ]
    path.write_text("\n".join(lines))
    report = ingest_interactions(store, [path], {}, rejected=tmp_path / "rejected.jsonl")
    assert report.rejected == {
        "no user_id": 1,
        "no item_id": 1,
        "unreadable event_time": 1,
        "no event_time": 1,
        "malformed JSON": 1,
        "no JSON object": 1,
    }
    assert (report.read, report.added) == (8, 2)
    assert rows(store, "item_id, rating") == [("a", None), ("c", None)]
    written = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert [(row["row"], row["reason"]) for row in written] == [
        (2, "no user_id"),
        (3, "no item_id"),
        (4, "unreadable event_time"),
        (5, "no event_time"),
        (6, "malformed JSON"),
        (8, "no JSON object"),
    ]
    assert written[4]["record"] == "{broken"
    assert "  rejected, malformed JSON: 1" in report.summary()
    assert report.odd["rows stored without their rating, which is no finite number"] == 1
    assert json.loads(json.dumps(report.to_dict()))["rejected"]["no user_id"] == 1


def test_csv_rows_with_too_many_or_too_few_fields(store: DuckDBStore, tmp_path: Path) -> None:
    path = csv(tmp_path, "x.csv", "user_id,item_id,event_time,rating", "u,a,1,2", "u,b,2,3,4,5", "u,c", "", "u,d,4")
    report = ingest_interactions(store, [path], {}, rejected=tmp_path / "rejected.csv")
    assert report.rejected == {"more fields than the header": 1, "no event_time": 1}
    assert rows(store, "item_id, rating") == [("a", 2.0), ("d", None)]
    written = pl.read_csv(tmp_path / "rejected.csv")
    assert written.columns == ["file", "row", "reason", "record"]
    assert written["row"].to_list() == [2, 3]


def test_rows_with_odd_values_are_stored_and_counted(store: DuckDBStore, tmp_path: Path) -> None:
    path = csv(
        tmp_path, "x.csv", "user_id,item_id,source_position,event_time,rating", "u,a,0,soon,inf", "u,b,1,,", "v,a,0,5,5"
    )
    report = ingest_interactions(store, [path], {})
    assert report.added == 3
    assert report.odd == {
        "item ids without metadata": 2,
        "users with one interaction": 1,
        "rows stored without their time, which cannot be read": 1,
        "rows stored without their rating, which is no finite number": 1,
        "times before 1980": 1,
    }
    assert report.examples["rows stored without their time, which cannot be read"] == "soon"
    assert store.catalog().titles == [None, None]
    again = ingest_interactions(store, [path], {})
    assert (again.added, again.odd) == (0, report.odd)


def test_unused_columns_are_named(store: DuckDBStore, tmp_path: Path) -> None:
    path = csv(tmp_path, "x.csv", "user_id,item_id,event_time,position", "u,a,1,0")
    assert ingest_interactions(store, [path], {}).unused_columns == ("position",)


def test_columns_joined_with_a_plus(store: DuckDBStore, tmp_path: Path) -> None:
    path = csv(tmp_path, "x.csv", "user_id,item_id,event_time,head,body", "u,a,1,Good,Very", "u,b,2,,Bad", "u,c,3,,")
    ingest_interactions(store, [path], {"query": "head+body"})
    assert rows(store, "query") == [("Good Very",), ("Bad",), (None,)]


BAD_FILES: Sequence[tuple[str, bytes | None, str]] = [
    ("missing.csv", None, "no such file"),
    (".", None, "a folder; name the files in it"),
    ("empty.csv", b"", "empty"),
    ("empty.parquet", b"", "empty"),
    ("rating=stars", None, "no such file; each pair of names needs a --map of its own"),
    ("header.csv", b"user_id,item_id,event_time\n", "no rows"),
    ("blank.jsonl", b"\n\n", "no rows"),
    ("column.csv", b"user_id,thing,event_time\nu,a,1\n", "no column item_id; it has user_id, thing, event_time.*--map"),
    ("keys.jsonl", b'{"user_id": "u", "thing": 1, "event_time": 2}\n', "no column item_id; it has user_id, thing"),
    ("broken.parquet", b"PAR1 this is none" * 10, "cannot be read"),
    ("useless.csv", b"user_id,item_id,event_time\n,a,1\nu,,2\n", r"none of 2 rows can be used.*no item_id: 1"),
    ("x.abc", b"abc", "unknown kind.*--delimiter"),
    ("x.xlsx", b"abc", "Excel files are not read; save the sheet as CSV"),
    ("excel.csv", b"PK\x03\x04abc", "Excel files are not read; save the sheet as CSV"),
    ("cut.jsonl.gz", gzip.compress(b'{"user_id": "u"}\n' * 5000)[:-40], "cannot be read"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES, ids=[name for name, _, _ in BAD_FILES])
def test_bad_files_are_named_and_change_nothing(
    store: DuckDBStore, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    good = csv(tmp_path, "good.csv", "user_id,item_id,event_time", "u,a,1")
    ingest_interactions(store, [good], {})
    before = state(store)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"(?s){name}.*{message}"):
        ingest_interactions(store, [tmp_path / name], {})
    extra = csv(tmp_path, "extra.csv", "user_id,item_id,event_time", "u,b,2")
    if name != "useless.csv":
        with pytest.raises(InputError, match=name):
            ingest_interactions(store, [extra, tmp_path / name], {})
    assert state(store) == before


@pytest.mark.parametrize(
    ("column", "values"),
    [("user_id", [[1], [2]]), ("item_id", [True, False]), ("event_time", [True, False]), ("rating", [[1.0], [2.0]])],
)
def test_a_column_of_the_wrong_type_is_named(
    store: DuckDBStore, tmp_path: Path, column: str, values: list[Any]
) -> None:
    columns = {"user_id": ["u", "v"], "item_id": ["a", "b"], "event_time": [1, 2], "rating": [1.0, 2.0]}
    columns[column] = values
    pl.DataFrame({f"my_{name}": value for name, value in columns.items()}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=rf"x.parquet: column my_{column} holds"):
        ingest_interactions(store, [tmp_path / "x.parquet"], {name: f"my_{name}" for name in columns})


def test_a_mapping_of_an_unknown_column_is_an_error(store: DuckDBStore, tmp_path: Path) -> None:
    path = csv(tmp_path, "x.csv", "user_id,item_id,event_time", "u,a,1")
    with pytest.raises(InputError, match="no column stars"):
        ingest_interactions(store, [path], {"rating": "stars"})
    with pytest.raises(SettingsError, match="unknown column score"):
        ingest_interactions(store, [path], {"score": "rating"})
    with pytest.raises(InputError, match="no file"):
        ingest_interactions(store, [], {})


def test_text_in_another_encoding_is_read(store: DuckDBStore, tmp_path: Path) -> None:
    for name, content in (
        ("x.csv", "user_id,item_id,event_time,query\nu,a,1,caf\xe9\n"),
        ("x.jsonl", '{"user_id": "u", "item_id": "b", "event_time": 2, "query": "caf\xe9"}\n'),
    ):
        (tmp_path / name).write_bytes(content.encode("latin-1"))
        ingest_interactions(store, [tmp_path / name], {})
    assert rows(store, "item_id, query") == [("a", "café"), ("b", "café")]


def test_names_that_look_like_patterns_or_sql(store: DuckDBStore, tmp_path: Path) -> None:
    path = csv(tmp_path, "week[1]*.csv", "user_id,item_id,event_time", '\'; DROP TABLE item; --,"a""b",1')
    ingest_interactions(store, [path], {})
    assert rows(store) == [("'; DROP TABLE item; --", 'a"b', 0)]


def test_many_rows_of_one_user(store: DuckDBStore, tmp_path: Path) -> None:
    count = 200_000
    frame = pl.DataFrame({"item_id": [n % 1000 for n in range(count)], "event_time": range(count)})
    frame.with_columns(pl.lit("u").alias("user_id")).write_parquet(tmp_path / "x.parquet")
    ingest_interactions(store, [tmp_path / "x.parquet"], {})
    sequences = store.sequences()
    assert sequences.lengths.tolist() == [count]
    assert (sequences.of(0) == [n % 1000 for n in range(count)]).all()
