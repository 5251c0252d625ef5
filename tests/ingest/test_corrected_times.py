"""Times of stored events that a later file corrects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from semconv.errors import InputError
from semconv_warehouse.ingest import ingest_interactions
from semconv_warehouse.ingest.report import IngestReport
from semconv_warehouse.store.duckdb_store import DuckDBStore

_HEAD = "user_id,item_id,source_position,event_time,event_type,rating"
_FIRST = ("u,a,1,100,view,3", "u,a,1,100,cart,3", "u,b,2,200,view,", "v,a,1,300,view,", "v,c,2,,,")


@pytest.fixture
def filled(store: DuckDBStore, tmp_path: Path) -> DuckDBStore:
    """A store with the five events of _FIRST."""
    ingest(store, tmp_path, *_FIRST)
    return store


def ingest(store: DuckDBStore, folder: Path, *lines: str, head: str = _HEAD) -> IngestReport:
    file = folder / "events.csv"
    file.write_text("\n".join((head, *lines)) + "\n")
    return ingest_interactions(store, [file], {})


def counts(report: IngestReport) -> tuple[int, int, int]:
    assert report.read == report.added + report.updated + report.duplicate
    return report.added, report.updated, report.duplicate


def stored(store: DuckDBStore) -> list[tuple[Any, ...]]:
    """User, item, source_position, time in seconds, type and rating of all events."""
    sql = (
        "SELECT user_id, item_id, source_position, epoch(event_time), event_type, rating FROM interaction"
        " ORDER BY user_id, position"
    )
    with store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


FIRST = [
    ("u", "a", 1, 100, "view", 3),
    ("u", "a", 1, 100, "cart", 3),
    ("u", "b", 2, 200, "view", None),
    ("v", "a", 1, 300, "view", None),
    ("v", "c", 2, None, None, None),
]


def test_another_time_at_the_same_position_corrects_the_stored_one(filled: DuckDBStore, tmp_path: Path) -> None:
    before = filled.content_hash("interaction")
    report = ingest(filled, tmp_path, "u,a,1,150,view,5", *_FIRST[1:])
    assert counts(report) == (0, 1, 4)
    assert report.summary()[0] == "interactions: 5 rows read, 0 added, 1 updated, 4 duplicate"
    assert json.loads(json.dumps(report.to_dict()))["updated"] == 1
    assert stored(filled) == [("u", "a", 1, 150, "view", 3), *FIRST[1:]]  # other columns of a stored event stay
    after = filled.content_hash("interaction")
    assert after != before
    assert counts(ingest(filled, tmp_path, "u,a,1,150,view,5", *_FIRST[1:])) == (0, 0, 5)
    assert filled.content_hash("interaction") == after


def test_times_that_were_missing_are_filled_in_and_a_missing_one_deletes_nothing(
    filled: DuckDBStore, tmp_path: Path
) -> None:
    assert counts(ingest(filled, tmp_path, "v,c,2,400,,", "u,b,2,,view,", "v,a,1,soon,view,")) == (0, 1, 2)
    assert stored(filled) == [*FIRST[:4], ("v", "c", 2, 400, None, None)]
    without_times = ("u,b,2,view", "v,a,1,view")
    report = ingest(filled, tmp_path, *without_times, head="user_id,item_id,source_position,event_type")
    assert counts(report) == (0, 0, 2)
    assert stored(filled) == [*FIRST[:4], ("v", "c", 2, 400, None, None)]


def test_the_last_time_of_a_file_counts(store: DuckDBStore, tmp_path: Path) -> None:
    """Also in the first ingest, and also if rows without a time follow."""
    lines = ("u,a,1,100,view,3", "u,a,1,110,view,4", "u,a,1,120,view,", "u,a,1,,view,")
    assert counts(ingest(store, tmp_path, *lines)) == (1, 0, 3)
    assert stored(store) == [("u", "a", 1, 120, "view", 3)]
    assert counts(ingest(store, tmp_path, *lines)) == (0, 0, 4)
    assert counts(ingest(store, tmp_path, "u,a,1,130,view,", *lines)) == (0, 0, 5)
    assert counts(ingest(store, tmp_path, *lines, "u,a,1,130,view,")) == (0, 1, 4)
    assert stored(store) == [("u", "a", 1, 130, "view", 3)]


def test_corrected_and_new_events_in_one_file(filled: DuckDBStore, tmp_path: Path) -> None:
    report = ingest(filled, tmp_path, "u,z,0,10,view,", "u,b,2,50,view,", "w,a,1,1,view,", "v,a,1,300,cart,")
    assert counts(report) == (3, 1, 0)
    assert stored(filled) == [
        ("u", "z", 0, 10, "view", None),
        *FIRST[:2],
        ("u", "b", 2, 50, "view", None),
        FIRST[3],
        ("v", "a", 1, 300, "cart", None),
        FIRST[4],
        ("w", "a", 1, 1, "view", None),
    ]


def test_a_corrected_time_may_equal_that_of_another_event(filled: DuckDBStore, tmp_path: Path) -> None:
    """Events at other positions decide neither whether a time is corrected nor, with their old times, what is new."""
    ingest(filled, tmp_path, "u,a,7,700,view,")
    lines = ("u,a,1,700,view,", "u,a,7,700,view,")
    assert counts(ingest(filled, tmp_path, *reversed(lines))) == (0, 1, 1)
    assert counts(ingest(filled, tmp_path, *lines)) == (0, 0, 2)
    moved = ("u,a,1,800,view,", "u,a,7,800,view,", "u,a,8,700,view,", "u,a,9,800,view,")
    assert counts(ingest(filled, tmp_path, *moved)) == (1, 2, 1)
    assert [row[2:4] for row in stored(filled) if row[0] == "u" and row[4] == "view"] == [
        (1, 800),
        (2, 200),
        (7, 800),
        (8, 700),
    ]
    assert counts(ingest(filled, tmp_path, *moved)) == (0, 0, 4)


def test_a_refused_file_corrects_nothing(filled: DuckDBStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 positions have two items"):
        ingest(filled, tmp_path, "u,a,1,150,view,", "u,x,2,5,view,")
    assert stored(filled) == FIRST


def test_in_a_project_ordered_by_time_another_time_is_another_event(store: DuckDBStore, tmp_path: Path) -> None:
    head = "user_id,item_id,event_time"
    ingest(store, tmp_path, "u,a,100", "u,b,200", head=head)
    assert counts(ingest(store, tmp_path, "u,a,150", "u,b,200", head=head)) == (1, 0, 1)
    assert [row[1:4] for row in stored(store)] == [("a", None, 100), ("a", None, 150), ("b", None, 200)]
