"""JSON in the layouts that programs write: lines, arrays, objects over several lines, wrappers, and what JSON lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from semconv_warehouse.ingest.files import text_files
from tests.worlds.small_files import items_of, values, written

ROWS = [{"item_id": "a", "title": 'A [1} "x"'}, {"item_id": "b", "title": "B", "images": [{"url": "u"}]}]
LAYOUTS = {
    "lines": "\n".join(map(json.dumps, ROWS)),
    "array": json.dumps(ROWS),
    "pretty array": json.dumps(ROWS, indent=2),
    "array, an object a line": "[\n" + ",\n".join(map(json.dumps, ROWS)) + "\n]\n",
    "pretty objects": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "objects on one line": "".join(map(json.dumps, ROWS)),
    "wrapper": json.dumps({"count": 2, "items": ROWS, "next": None}),
    "pretty wrapper": json.dumps({"meta": {"page": [1]}, "items": ROWS}, indent=1),
    "mark": "\ufeff" + "\n".join(map(json.dumps, ROWS)),
    "mark and array": "\ufeff" + json.dumps(ROWS),
    "python": "\n".join(map(str, ROWS)),
    "carriage returns": "\r\n".join(map(json.dumps, ROWS)) + "\r\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("block", [4 << 20, 7])
def test_every_layout_gives_the_same_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, block: int
) -> None:
    monkeypatch.setattr(text_files, "_BLOCK", block)
    read = items_of(written(tmp_path / "i.json", LAYOUTS[layout]))
    assert values(read, "item_id", "title") == [("a", 'A [1} "x"'), ("b", "B")]
    assert (read.read, read.rejected) == (2, {})


def test_one_object_over_several_lines_is_an_item_although_it_holds_an_array(tmp_path: Path) -> None:
    path = written(tmp_path / "i.json", json.dumps(ROWS[1], indent=1))
    assert values(items_of(path), "item_id") == [("b",)]


@pytest.mark.parametrize(
    ("text", "items", "rejected"),
    [
        ('[{"item_id": "a"}, 5, {"item_id": "b"}]', ["a", "b"], {"no JSON object": 1}),
        ('[{"item_id": "a"}, {"item_id": "b"', ["a"], {"malformed JSON": 1}),
        ('{oops\n{"item_id": "a"}\n', ["a"], {"malformed JSON": 1}),
        ('{"item_id": "a"}\n[1, 2]\n', ["a"], {"no JSON object": 1}),
        ("{'item_id': 'a'}\n{'item_id': open('x')}\n", ["a"], {"malformed JSON": 1}),
    ],
)
def test_broken_rows_are_rejected_alone(tmp_path: Path, text: str, items: list[str], rejected: dict[str, int]) -> None:
    read = items_of(written(tmp_path / "i.json", text))
    assert ([one for (one,) in values(read, "item_id")], read.rejected) == (items, rejected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"item_id":"a","title":"A","price":NaN}', ("a", "A")),
        ('{"item_id":"a","title":"A","price":-Infinity}', ("a", "A")),
        ('{"item_id":"a","title":"Game \\ud83d"}', ("a", None)),
        ('{"item_id":"a","title":"\\ude00 Game"}', ("a", None)),
        ('{"item_id":"a","title":"Game \\ud83d\\ude00"}', ("a", "Game \U0001f600")),
        ('{"item_id":"a","title":"a \\\\ud83d b"}', ("a", "a \\ud83d b")),
        ('{"item_id":"a","title":["x","\\ud83d"]}', ("a", "x")),
    ],
)
def test_what_json_does_not_have_is_left_out(tmp_path: Path, line: str, expected: tuple[Any, ...]) -> None:
    assert values(items_of(written(tmp_path / "i.jsonl", line)), "item_id", "title") == [expected]
