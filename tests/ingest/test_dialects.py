"""CSV in the dialects that programs write: delimiters, decimal commas, encodings, headers, names of columns and quotes."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path
from typing import Any

import pytest

from semconv.errors import InputError, SettingsError
from semconv_warehouse.ingest import ingest_interactions
from semconv_warehouse.ingest.files import text_files
from semconv_warehouse.ingest.files.quotes import Requoted
from semconv_warehouse.ingest.readers import Dialect
from semconv_warehouse.store.duckdb_store import DuckDBStore
from tests.worlds.small_files import events_of, items_of, values, written

NAMES = "item_id{0}title{0}brand\n1{0}Café{0}X\n"


@pytest.mark.parametrize(
    ("name", "sign", "given", "remark"),
    [
        ("i.csv", ",", {}, ""),
        ("i.csv", ";", {}, "the fields are separated by ';'"),
        ("i.csv", "|", {}, "the fields are separated by '|'"),
        ("i.csv", "\t", {}, "the fields are separated by 'tab'"),
        ("i.tsv", ",", {}, "the fields are separated by ','"),
        ("i.csv", ";", {"delimiter": ";"}, ""),
        ("i.txt", "\t", {"delimiter": "\\t"}, ""),
        ("i.dat", "::", {"delimiter": "::"}, ""),
        ("i.data.gz", "¦", {"delimiter": "¦"}, ""),
    ],
)
def test_delimiters(tmp_path: Path, name: str, sign: str, given: dict[str, Any], remark: str) -> None:
    content = NAMES.format(sign).encode()
    read = items_of(written(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content), **given)
    assert values(read, "item_id", "title", "brand") == [("1", "Café", "X")]
    assert any(one.startswith(remark) for one in read.remarks) if remark else read.remarks == ()


@pytest.mark.parametrize(
    ("encoding", "mark", "given", "remark"),
    [
        ("utf-8", codecs.BOM_UTF8, None, ""),
        ("cp1252", b"", None, "is read as cp1252"),
        ("latin-1", b"", None, "is read as cp1252"),
        ("utf-16-le", codecs.BOM_UTF16_LE, None, "is read as utf-16-le"),
        ("utf-16-be", codecs.BOM_UTF16_BE, None, "is read as utf-16-be"),
        ("utf-16-le", b"", None, "is read as utf-16-le"),
        ("utf-16", b"", "utf-16", ""),
        ("cp1251", b"", "cp1251", ""),
        ("utf-8", codecs.BOM_UTF8, "utf-8", ""),
        ("utf-8", b"", "utf-8-sig", ""),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, mark: bytes, given: str | None, remark: str) -> None:
    title = "Жук" if encoding == "cp1251" else "Misérables"
    content = mark + f"item_id,title\n\xfc1,{title}\n".encode(encoding) if encoding != "cp1251" else f"item_id,title\nа1,{title}\n".encode(encoding)  # fmt: skip
    read = items_of(written(tmp_path / "i.csv", content), encoding=given)
    assert values(read, "item_id", "title") == [("а1" if encoding == "cp1251" else "ü1", title)]
    assert any(remark in one for one in read.remarks) if remark else read.remarks == ()


def test_ids_of_another_encoding_do_not_merge(store: DuckDBStore, tmp_path: Path) -> None:
    # The four ids differ in one byte, of which Windows-1252 has no letter for the last one.
    content = b"user_id,item_id,event_time\n" + b"".join(
        b"caf%c,i,1600000000\n" % byte for byte in (0xE8, 0xE9, 0xEA, 0x81)
    )
    read = events_of(store, written(tmp_path / "e.csv", content))
    assert values(read, "user_id") == [("cafè",), ("café",), ("cafê",), ("caf\x81",)]
    lines = b"".join(
        b'{"user_id": "caf%c", "item_id": "i", "event_time": 1600000000}\n' % byte for byte in (0xE8, 0xE9)
    )
    assert values(events_of(store, written(tmp_path / "e.jsonl", lines)), "user_id") == [("cafè",), ("café",)]


def test_some_bytes_of_another_encoding_in_a_text_of_utf8(tmp_path: Path) -> None:
    content = "item_id,title\n1,Ångström\n2,naïve café\n3,".encode() + b"r\xe9sum\xe9\n"
    read = items_of(written(tmp_path / "i.csv", content))
    assert values(read, "title") == [("Ångström",), ("naïve café",), ("résumé",)]
    assert "UTF-8 with some bytes of another encoding" in read.remarks[0]


def test_bytes_that_a_given_encoding_does_not_have_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "i.csv", b"item_id,title\n1,ok\n2,caf\xe9\n")
    with pytest.raises(InputError, match=r"i\.csv: not utf-8 near line"):
        items_of(path, encoding="utf-8")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"delimiter": ""}, "--delimiter"),
        ({"delimiter": '"'}, "--delimiter"),
        ({"decimal": ";"}, "give . or ,"),
        ({"encoding": "klingon"}, "--encoding 'klingon': unknown encoding"),
        ({"encoding": "base64"}, "--encoding 'base64': unknown encoding"),
        ({"date_format": "dd.mm.yyyy"}, "--date-format 'dd.mm.yyyy': does not give a whole date"),
        ({"date_format": "%H:%M"}, "does not give a whole date"),
    ],
)
def test_a_dialect_that_cannot_be_used_is_named(option: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Dialect(**option)


def test_options_of_text_are_refused_for_other_formats(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--delimiter and --no-header cannot be used, because the file is JSON"):
        items_of(written(tmp_path / "i.json", "{}"), delimiter=";", has_header=False)


def test_decimal_commas(store: DuckDBStore, tmp_path: Path) -> None:
    path = written(
        tmp_path / "e.csv", "user_id;item_id;event_time;rating\nu;a;1600000000;4,5\nu;b;1600000001;1.234,5\n"
    )
    assert values(events_of(store, path, decimal=","), "rating") == [(4.5,), (1234.5,)]
    read = events_of(store, path)
    assert values(read, "rating") == [(None,), (None,)]
    kind = "rows stored without their rating, which is no finite number"
    assert (read.odd[kind], read.examples[kind]) == (2, "4,5")


def test_columns_by_position(store: DuckDBStore, tmp_path: Path) -> None:
    path = written(tmp_path / "u.tsv", "196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    with pytest.raises(InputError, match=r"seems to have no header; give --no-header .* --map user_id=1"):
        events_of(store, path)
    names = {"user_id": "1", "item_id": "2", "rating": "3", "event_time": "4"}
    read = events_of(store, path, names, has_header=False)
    assert values(read, "user_id", "item_id", "rating") == [("196", "242", 3.0), ("186", "302", 3.0)]
    with pytest.raises(InputError, match=r"no column 5; it has 1, 2, 3, 4, because it is read without header"):
        events_of(store, path, {**names, "rating": "5"}, has_header=False)
    twice = written(tmp_path / "e.csv", "7,7,1\n8,9,2\n")
    with pytest.raises(InputError, match="the first row has 7 twice, so the file seems to have no header"):
        events_of(store, twice)


@pytest.mark.parametrize("header", [",item_id,title", "Unnamed: 0,item_id,title", '"",item_id,title'])
def test_the_index_of_pandas_is_left_out(tmp_path: Path, header: str) -> None:
    read = items_of(written(tmp_path / "i.csv", f"{header}\n0,i1,A\n1,i2,\n"))
    assert values(read, "item_id", "title", "attributes") == [("i1", "A", None), ("i2", None, None)]
    assert read.remarks[0].startswith("columns without a name of their own, left out: ")


def test_a_header_that_ends_in_a_comma_and_names_with_blanks(tmp_path: Path) -> None:
    assert values(items_of(written(tmp_path / "a.csv", "item_id,title,\ni1,A,\n")), "item_id", "title") == [("i1", "A")]
    assert values(items_of(written(tmp_path / "b.csv", "item_id, title\r\n i1 , A \r\n")), "item_id", "title") == [
        ("i1", "A")
    ]
    assert values(items_of(written(tmp_path / "c.csv", "\n\nitem_id,title\n\ni1,A\n")), "item_id", "title") == [
        ("i1", "A")
    ]


def test_the_line_in_which_excel_names_the_delimiter(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "\ufeffsep=;\r\nitem_id;title\r\n1;a, b\r\n")
    assert values(items_of(path), "item_id", "title") == [("1", "a, b")]


def test_a_name_twice_and_a_name_in_other_case(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two columns are called price; give each column its own name"):
        items_of(written(tmp_path / "a.csv", "item_id,price,title,price\n1,2,A,3\n"))
    read = items_of(written(tmp_path / "b.csv", "ITEM_ID,Title\n1,A\n"))
    assert values(read, "item_id", "title", "attributes") == [("1", "A", None)]
    assert read.remarks == ("item_id is read from the column ITEM_ID", "title is read from the column Title")
    read = items_of(written(tmp_path / "c.csv", "item_id,title,Title,price,Price\n1,A,B,2,3\n"))
    assert values(read, "title", "attributes") == [("A", '{"Title":"B","price":"2","Price":"3"}')]


ODD_QUOTES = [
    ("inch", 'item_id\ttitle\tgenre\n1\tOne\tDrama\n2\tInch 12" Single\tMusic\n3\tSix\tDrama\n', ["One", 'Inch 12" Single', "Six"]),
    ("lead", 'item_id\ttitle\n1\tPlain\n2\t"Great Things" Sung (1998)\n3\tSix\n', ["Plain", '"Great Things" Sung (1998)', "Six"]),
    ("open", 'item_id\ttitle\tg\n1\t"Never closed\tx\n2\tTwo\tx\n', ['"Never closed', "Two"]),
    ("two inches", 'item_id\ttitle\tg\n1\t"Six\tx\n2\tTwelve"\tx\n', ['"Six', 'Twelve"']),
    ("comma", 'item_id,title,g\n1,12" of "x",y\n2,"a ""b"", c",y\n3,"two\nlines, here",y\n', ['12" of "x"', 'a "b", c', "two lines, here"]),
    ("last", 'item_id,g,title\n1,y,5" disk\r\n2,y,"a, b"\r\n', ['5" disk', "a, b"]),
    ("blank", 'item_id, title\n1, "a, b"\n2, c\n', ["a, b", "c"]),
    ("empty", 'item_id,title,g\n1,"",\'"\'\n2,"x",y"y\n', [None, "x"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "titles"), ODD_QUOTES, ids=[one[0] for one in ODD_QUOTES])
@pytest.mark.parametrize("block", [4 << 20, 16])
def test_quotes_at_odd_positions_lose_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, titles: list[str | None], block: int
) -> None:
    monkeypatch.setattr(text_files, "_BLOCK", block)
    path = written(tmp_path / ("i.tsv" if "\t" in content else "i.csv"), content)
    read = items_of(path)
    assert [title for (title,) in values(read, "title")] == titles
    if name not in ("two inches", "blank"):
        assert "fields with a double quote inside, read as it stands" in read.odd


def test_regular_quotes_stay_as_they_are() -> None:
    rows = b'1,"a ""b""",c\n2,"x\ny",\n"3",,""\n'
    assert b"".join(Requoted(b",").blocks([rows])) == rows


def test_rejected_rows_have_the_number_of_the_row(store: DuckDBStore, tmp_path: Path) -> None:
    path = written(
        tmp_path / "e.csv",
        b'user_id,item_id,event_time,t\nu,a,1600000000,12" x\n,b,1,caf\xe9\nu,c,1600000000,y\nu,,1,z\n',
    )
    report = ingest_interactions(store, [path], {}, rejected=tmp_path / "r.csv")
    assert (report.added, report.rejected) == (2, {"no user_id": 1, "no item_id": 1})
    assert [line.split(",")[1:3] for line in (tmp_path / "r.csv").read_text().splitlines()[1:]] == [["2", "no user_id"], ["4", "no item_id"]]  # fmt: skip


def test_the_file_of_rejected_rows_is_written_if_every_row_fails(store: DuckDBStore, tmp_path: Path) -> None:
    path = written(tmp_path / "e.csv", "user_id,item_id,event_time\nu,a,next week\n,b,1\n")
    with pytest.raises(
        InputError, match=r"none of 2 rows .*such as 'next week'.*--date-format.* the rejected rows are in"
    ) as error:
        ingest_interactions(store, [path], {}, rejected=tmp_path / "r.jsonl")
    assert "\n" not in str(error.value)
    assert (tmp_path / "r.jsonl").read_text().count("\n") == 2
