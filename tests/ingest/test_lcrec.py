"""Data sets in the files of LC-Rec: what is stored in which order, and what is refused in one line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from semconv.errors import InputError
from semconv.stages.codes.code_file import read_codes
from semconv_cli.main import cli
from semconv_warehouse.ingest import ingest_interactions, ingest_lcrec
from semconv_warehouse.ingest.lcrec import LcRecFiles
from semconv_warehouse.project import Project
from semconv_warehouse.store.duckdb_store import DuckDBStore

SEQUENCES: dict[str, Any] = {"0": [2, 0, 1], "1": ["1", 2, "1"], "7": [0]}
ITEMS: dict[str, Any] = {
    "0": {"title": "A <b>lamp</b>", "description": "Bright &amp; small", "brand": "Acme", "categories": "Home,Lamps"},
    "1": {"title": "A chair", "description": ["One.", "Two."], "brand": "", "categories": ""},
    "2": {"title": "", "description": "", "colour": "red"},
    "3": {"title": "Nobody has it \ud83d"},
}
INDEX: dict[str, Any] = {
    "0": ["<a_1>", "<b_0>", "<c_255>"],
    "1": ["<a_1>", "<b_2>", "<c_3>"],
    "2": ["<a_0>", "<b_0>", "<c_0>"],
    "3": ["<a_9>", "<b_9>", "<c_9>"],
}


def write(folder: Path, name: str = "Games", **contents: Any) -> Path:
    """Write the three files; the value None leaves one out, and a text is written as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, content in {"inter": SEQUENCES, "item": ITEMS, "index": INDEX, **contents}.items():
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / f"{name}.{kind}.json").write_text(text)
    return folder


def rows(store: DuckDBStore, sql: str) -> list[tuple[Any, ...]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def test_the_order_of_the_files_is_kept_and_texts_are_cleaned(store: DuckDBStore, tmp_path: Path) -> None:
    report = ingest_lcrec(store, write(tmp_path / "d"))
    assert [(part.kind, part.added) for part in report.parts] == [("interactions", 7), ("items", 4)]
    catalog, sequences = store.catalog(), store.sequences()
    assert list(catalog.item_ids) == ["0", "1", "2", "3"]
    found = {user: [catalog.item_ids[i] for i in sequences.of(n)] for n, user in enumerate(sequences.user_ids)}
    assert found == {"0": ["2", "0", "1"], "1": ["1", "2", "1"], "7": ["0"]}
    assert rows(store, "SELECT title, description, brand, categories, attributes FROM item ORDER BY item_index")[
        :3
    ] == [
        ("A lamp", "Bright & small", "Acme", ["Home", "Lamps"], None),
        ("A chair", "One. Two.", None, None, None),
        (None, None, None, None, {"colour": "red"}),
    ]
    assert rows(store, "SELECT DISTINCT event_time FROM interaction") == [(None,)]
    assert rows(store, "SELECT user_id, source_position FROM interaction WHERE item_id = '0' ORDER BY ALL") == [
        ("0", 1),
        ("7", 0),
    ]
    assert rows(store, "SELECT title FROM item WHERE item_id = '3'") == [("Nobody has it \ufffd",)]


def test_the_same_folder_again_changes_nothing(store: DuckDBStore, tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    ingest_lcrec(store, folder)
    before = store.content_hash("item"), store.content_hash("interaction")
    again = ingest_lcrec(store, folder)
    assert (again.added, again.updated, again.duplicate) == (0, 0, 11)
    assert (store.content_hash("item"), store.content_hash("interaction")) == before


def test_numbers_of_items_are_the_same_as_numbers_and_as_texts(store: DuckDBStore, tmp_path: Path) -> None:
    ingest_lcrec(store, write(tmp_path / "d"))
    as_text = {user: [str(item) for item in mine] for user, mine in SEQUENCES.items()}
    again = ingest_lcrec(store, write(tmp_path / "d", inter=as_text))
    assert again.added == 0


def test_codes_are_loaded_from_the_published_file(store: DuckDBStore, tmp_path: Path) -> None:
    folder = write(tmp_path / "a folder")
    lines = ingest_lcrec(store, folder).summary()
    assert (
        lines[-1]
        == f"codes: 4 items with 3 codes each; load them with `semconv codebook load '{folder}/Games.index.json'`"
    )
    found = read_codes(folder / "Games.index.json", store.catalog().item_ids)
    assert found.codes.tolist() == [[1, 0, 255], [1, 2, 3], [0, 0, 0], [9, 9, 9]]
    assert (found.num_unknown, found.num_codes) == (0, 256)


def test_a_folder_without_codes_says_so(store: DuckDBStore, tmp_path: Path) -> None:
    report = ingest_lcrec(store, write(tmp_path / "d", index=None))
    assert report.summary()[-1] == (
        "codes: none, because the folder has no Games.index.json; `semconv codebook fit` fits codes"
    )
    assert report.to_dict()["codes"] == report.codes


def test_users_with_an_empty_list_are_counted(store: DuckDBStore, tmp_path: Path) -> None:
    report = ingest_lcrec(store, write(tmp_path / "d", inter={**SEQUENCES, "8": [], "9": []}))
    assert "  users with an empty list, which are left out: 2" in report.summary()
    assert report.odd["users with an empty list, which are left out"] == 2
    assert rows(store, "SELECT count(*) FROM user_account") == [(3,)]


def test_codes_of_more_items_and_other_files_are_no_fault(store: DuckDBStore, tmp_path: Path) -> None:
    folder = write(tmp_path / "d", index={**INDEX, "99": ["<a_0>", "<b_0>", "<c_1>"]})
    (folder / "Games.user.json").write_text("[]")
    (folder / "README.md").write_text("")
    assert "codes: 5 items" in ingest_lcrec(store, folder).codes
    assert read_codes(folder / "Games.index.json", store.catalog().item_ids).num_unknown == 1


def test_files_of_an_unpacked_archive_are_found(store: DuckDBStore, tmp_path: Path) -> None:
    folder = write(tmp_path / "archive" / "Games")
    (folder / "._Games.inter.json").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "archive" / "__MACOSX").write_bytes(b"")
    assert LcRecFiles.of(folder) == LcRecFiles.of(tmp_path / "archive")
    assert "codes: 4 items" in ingest_lcrec(store, tmp_path / "archive").codes


def test_repeats_are_counted_and_kept(store: DuckDBStore, tmp_path: Path) -> None:
    report = ingest_lcrec(store, write(tmp_path / "d", inter={"0": [0, 1, 0, 2, 0], "1": [3]}))
    name = 'interactions that repeat an earlier one, which count if events.repeats = "keep"'
    assert report.odd[name] == 2
    assert rows(store, "SELECT count(*) FROM interaction") == [(6,)]


def test_a_brand_that_is_a_number_and_an_item_of_nobody_without_codes_are_no_fault(
    store: DuckDBStore, tmp_path: Path
) -> None:
    items = {**ITEMS, "3": {"title": "x", "brand": 1791}, "4": {"title": "y"}}
    folder = write(tmp_path / "d", item=items)
    ingest_lcrec(store, folder)
    assert rows(store, "SELECT brand FROM item WHERE item_id = '3'") == [("1791",)]


CUT = json.dumps(SEQUENCES)[:-9]
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"inter": None}, r"Games.inter.json: no such file; a data set needs"),
    ({"item": None}, r"Games.item.json: no such file; a data set needs"),
    ({"inter": CUT}, r"Games.inter.json: no valid JSON \(.*\), so it may be cut"),
    ({"item": ""}, r"Games.item.json: no valid JSON"),
    ({"index": '{"0": ["<a_1>"'}, r"Games.index.json: no valid JSON"),
    ({"inter": "[" * 100_000}, r"Games.inter.json: lists or objects are nested too deep"),
    ({"inter": [[0, 1]]}, r"Games.inter.json: holds a list instead of an object"),
    ({"item": "7"}, r"Games.item.json: holds a number instead of an object"),
    ({"inter": {}}, r"Games.inter.json: holds an empty object"),
    ({"inter": {"0": [], "1": []}}, r"Games.inter.json: no user has an item"),
    ({"inter": '{"0": [1], "1": [0], "0": [2]}'}, r'Games.inter.json: the key "0" occurs twice'),
    ({"inter": {"0": {"1": 2}}}, r'Games.inter.json: user "0" has an object instead of a list'),
    ({"inter": {"0": 1}}, r'user "0" has a number instead of a list'),
    ({"inter": {"0": [0, 1.0]}}, r'user "0" has 1.0 at position 1, which is no item number'),
    ({"inter": {"0": [True]}}, r'user "0" has true at position 0, which is no item number'),
    ({"inter": {"0": [None]}}, r'user "0" has null at position 0'),
    ({"inter": {"0": [-1]}}, r'user "0" has -1 at position 0'),
    ({"inter": {"0": ["one"]}}, r'user "0" has "one" at position 0'),
    ({"inter": {"0": [[1]]}}, r'user "0" has \[1\] at position 0'),
    ({"inter": {" ": [1]}}, r"the name of a user is empty"),
    ({"inter": {"0": [1, 8, 5]}}, r"Games.item.json: has no text for 2 items of Games.inter.json, the first is item 5"),
    ({"item": {**ITEMS, "02": {"title": "x"}}}, r"Games.item.json: item 2 occurs twice"),
    ({"item": {**ITEMS, "B00X": {"title": "x"}}}, r'Games.item.json: the key "B00X" is no item number'),
    ({"item": {**ITEMS, "3": "A title"}}, r"item 3 has a text instead of an object"),
    ({"item": {**ITEMS, "3": {"title": 5}}}, r"item 3 has a number as title, but a text is expected"),
    ({"item": {**ITEMS, "3": {"title": ["x"]}}}, r"item 3 has a list as title"),
    ({"item": {**ITEMS, "3": {"description": {"en": "x"}}}}, r"item 3 has an object as description"),
    ({"item": {**ITEMS, "3": {"description": ["x", 7]}}}, r"item 3 has a number as description"),
    ({"index": {**INDEX, "3": ["<a_1>", "<b_1>"]}}, r"item 0 has 3 codes, but item 3 has 2"),
    ({"index": {**INDEX, "3": []}}, r"item 3 has 0 codes; each item needs between 1 and 6"),
    ({"index": {**INDEX, "3": ["<a_1>"] * 7}}, r"item 3 has 7 codes; each item needs between 1 and 6"),
    ({"index": {**INDEX, "3": ["<a_1>", "<b_1>", "c_1"]}}, r'item 3 has "c_1" as its code of level 3, but a token such as <c_12>'),
    ({"index": {**INDEX, "3": ["<a_1>", "<c_1>", "<b_1>"]}}, r'item 3 has "<c_1>" as its code of level 2'),
    ({"index": {**INDEX, "3": ["<a_1>", "<b_65536>", "<c_1>"]}}, r"codes must lie between 0 and 65535"),
    ({"index": {**INDEX, "3": [1, 2, 3]}}, r"item 3 has 1 as its code of level 1"),
    ({"index": {**INDEX, "3": "<a_1><b_1><c_1>"}}, r"item 3 has a text instead of a list of code tokens"),
    ({"index": {"0": INDEX["0"]}}, r"Games.index.json: has no codes for 2 items of Games.inter.json, the first is item 1"),
]  # fmt: skip


@pytest.mark.parametrize(("contents", "message"), REFUSED)
def test_a_wrong_file_is_refused_in_one_line_and_nothing_is_stored(
    store: DuckDBStore, tmp_path: Path, contents: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        ingest_lcrec(store, write(tmp_path / "d", **contents))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert rows(store, "SELECT (SELECT count(*) FROM item), (SELECT count(*) FROM interaction)") == [(0, 0)]


def packed(folder: Path, *kinds: str) -> Path:
    for kind in kinds:
        path = folder / f"Games.{kind}.json"
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


def test_packed_files_are_read_like_plain_ones(store: DuckDBStore, tmp_path: Path) -> None:
    folder = packed(write(tmp_path / "d"), "inter", "item", "index")
    lines = ingest_lcrec(store, folder).summary()
    assert lines[-1].endswith(f"`semconv codebook load {folder}/Games.index.json.gz`")
    assert read_codes(folder / "Games.index.json.gz", store.catalog().item_ids).codes.tolist()[0] == [1, 0, 255]
    (folder / "Games.item.json.gz").write_bytes((folder / "Games.item.json.gz").read_bytes()[:-12])
    with pytest.raises(InputError, match=r"Games.item.json.gz: no whole gzip file \(.*\), so it may be cut; download"):
        ingest_lcrec(store, folder)
    write(folder)
    with pytest.raises(InputError, match=r"Games.inter.json: the folder holds this file also as Games.inter.json.gz"):
        ingest_lcrec(store, folder)


def test_bytes_that_are_no_text_are_refused(store: DuckDBStore, tmp_path: Path) -> None:
    folder = write(tmp_path / "d")
    (folder / "Games.item.json").write_bytes(b'{"0": {"title": "\xff"}}')
    with pytest.raises(InputError, match=r"Games.item.json: no valid JSON"):
        ingest_lcrec(store, folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: write(folder, "Arts", index=None), r"holds several data sets \(Arts, Games\)"),
        (lambda folder: write(folder, "Arts", inter=None, item=None), r"several data sets \(Arts, Games\)"),
        (lambda folder: [file.unlink() for file in folder.iterdir()], r"no file NAME.inter.json and no file"),
        (lambda folder: folder.rename(folder.parent / "other"), r"no such folder"),
    ],
)
def test_the_folder_holds_one_data_set(
    store: DuckDBStore, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    folder = write(tmp_path / "d")
    spoil(folder)
    with pytest.raises(InputError, match=message):
        ingest_lcrec(store, folder)


def test_a_project_in_the_order_of_time_takes_no_positions(store: DuckDBStore, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("user_id,item_id,event_time\nu,i,2020-01-01\n")
    ingest_interactions(store, [tmp_path / "events.csv"], {})
    with pytest.raises(InputError, match=r"ordered by event_time since its first ingest; ingest the files into a new"):
        ingest_lcrec(store, write(tmp_path / "d"))


def test_another_data_set_in_the_same_project_is_refused(store: DuckDBStore, tmp_path: Path) -> None:
    ingest_lcrec(store, write(tmp_path / "d"))
    with pytest.raises(InputError, match=r"positions have two items.* nothing was changed"):
        ingest_lcrec(store, write(tmp_path / "e", "Arts", inter={"0": [0, 1, 2]}))


def test_the_command_prints_counts_and_the_way_to_the_codes(tmp_path: Path) -> None:
    root = Project.init(tmp_path / "shop").root
    folder = write(tmp_path / "d")

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(cli, ["--project", str(root), "ingest", "lcrec", *words])

    result = invoke(str(folder))
    assert result.exit_code == 0, result.stderr
    assert len(result.stderr.splitlines()) == 1  # the summary of a job
    assert [line for line in result.stdout.splitlines() if not line.startswith("  ")] == [
        "interactions: 7 rows read, 7 added",
        "items: 4 rows read, 4 added",
        f"codes: 4 items with 3 codes each; load them with `semconv codebook load {folder}/Games.index.json`",
    ]
    assert json.loads(invoke(str(folder), "--json").stdout)["added"] == 0
    (folder / "Games.inter.json").write_text(CUT)
    refused = invoke(str(folder))
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert "Games.inter.json: no valid JSON" in refused.stderr.splitlines()[0]
