"""Event types in files, and profiles of users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from semconv.errors import InputError
from semconv_warehouse.ingest import ingest_interactions, ingest_users
from semconv_warehouse.store.duckdb_store import DuckDBStore

_HEAD = "user_id,item_id,event_time,kind"
_ROWS = ("u,a,100,view", "u,a,100,cart", "u,a,100,view", "u,b,200, buy ", "v,a,50,", "v,a,50,view")
_MAP = {"event_type": "kind"}


def csv(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def read(store: DuckDBStore, sql: str) -> list[tuple[Any, ...]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def test_the_type_is_part_of_the_key_of_an_event(store: DuckDBStore, tmp_path: Path) -> None:
    file = csv(tmp_path, "e.csv", _HEAD, *_ROWS)
    report = ingest_interactions(store, [file], _MAP)
    assert (report.read, report.added, report.duplicate) == (6, 5, 1)
    assert report.types == {"buy": 1, "cart": 1, "view": 2}
    assert "  event types: buy 1, cart 1, view 2" in report.summary()
    stored = "SELECT user_id, item_id, event_type, position FROM interaction ORDER BY user_id, position"
    rows = [
        ("u", "a", "view", 0),
        ("u", "a", "cart", 1),
        ("u", "b", "buy", 2),
        ("v", "a", None, 0),
        ("v", "a", "view", 1),
    ]
    assert read(store, stored) == rows
    before = store.content_hash("interaction")
    assert ingest_interactions(store, [file], _MAP).added == 0
    assert ingest_interactions(store, [csv(tmp_path, "f.csv", _HEAD, "u,b,200,return", *_ROWS)], _MAP).added == 1
    assert store.content_hash("interaction") != before
    assert read(store, "SELECT position FROM interaction WHERE event_type = 'return'") == [(3,)]


def test_events_at_one_position_keep_the_order_of_the_file(store: DuckDBStore, tmp_path: Path) -> None:
    rows = [f"u{user},a,{position},{kind}" for user in range(20) for position, kind in ((0, "buy"), (0, "return"))]
    file = csv(tmp_path, "e.csv", "user_id,item_id,source_position,kind", *rows)
    ingest_interactions(store, [file], _MAP)
    ingest_interactions(store, [csv(tmp_path, "f.csv", "user_id,item_id,source_position,kind", "u0,a,0,view")], _MAP)
    found = read(store, "SELECT user_id, string_agg(event_type, ' ' ORDER BY position) FROM interaction GROUP BY ALL")
    assert dict(found) == {f"u{user}": "buy return" + (" view" if user == 0 else "") for user in range(20)}


def test_types_are_read_as_indices(store: DuckDBStore, tmp_path: Path) -> None:
    ingest_interactions(store, [csv(tmp_path, "e.csv", _HEAD, *_ROWS)], _MAP)
    sequences = store.sequences(queries=True)
    assert sequences.type_names == ("buy", "cart", "view")
    assert sequences.types is not None
    assert sequences.types.tolist() == [2, 1, 0, -1, 2]


def test_positions_may_have_several_types_but_one_item(store: DuckDBStore, tmp_path: Path) -> None:
    head = "user_id,item_id,source_position,event_type"
    file = csv(tmp_path, "e.csv", head, "u,a,1,view", "u,a,1,cart", "u,b,2,view")
    assert ingest_interactions(store, [file], {}).added == 3
    assert ingest_interactions(store, [file], {}).added == 0
    with pytest.raises(InputError, match="1 positions have two items; the first is position 1 of user u"):
        ingest_interactions(store, [csv(tmp_path, "f.csv", head, "u,c,1,view")], {})


def test_a_column_with_too_many_values_is_no_event_type(store: DuckDBStore, tmp_path: Path) -> None:
    file = csv(tmp_path, "e.csv", _HEAD, *(f"u,a,{n},t{n}" for n in range(300)))
    with pytest.raises(InputError, match="has more than 255 different values, too many for event types"):
        ingest_interactions(store, [file], _MAP)
    assert read(store, "SELECT count(*) FROM interaction") == [(0,)]


def test_events_without_types_keep_the_hash_that_they_had(store: DuckDBStore, tmp_path: Path) -> None:
    """Runs on such events are reused; repeats change the hash, because earlier versions did not collapse them."""
    ingest_interactions(store, [csv(tmp_path, "e.csv", "user_id,item_id,event_time", "u,a,1", "u,b,2")], {})
    columns = "user_id, item_id, event_time, source_position, position, rating, query"
    count, combined, total = read(
        store, f"SELECT count(*), bit_xor(h), sum(h::HUGEINT) FROM (SELECT hash({columns}) AS h FROM interaction)"
    )[0]
    assert store.content_hash("interaction") == f"{count:x}-{combined:016x}-{int(total):x}"
    ingest_interactions(store, [csv(tmp_path, "f.csv", "user_id,item_id,event_time", "u,a,3")], {})
    assert store.content_hash("interaction").endswith("-repeats")


def test_profiles_are_added_and_updated_once(store: DuckDBStore, tmp_path: Path) -> None:
    ingest_interactions(store, [csv(tmp_path, "e.csv", "user_id,item_id,event_time", "u,a,1")], {})
    file = csv(tmp_path, "u.csv", "customer,market,age,city", "u,DE,30,Bonn", "w,AT,,Graz", ",DE,1,x", "u,CH,31,Bern")
    report = ingest_users(store, [file], {"user_id": "customer"})
    assert (report.read, report.added, report.duplicate) == (4, 2, 1)
    assert report.rejected == {"no user_id": 1}
    assert report.odd == {"users without interactions": 1}
    profiles = "SELECT user_id, market, attributes ->> 'city' FROM user_profile ORDER BY user_id"
    assert read(store, profiles) == [("u", "CH", "Bern"), ("w", "AT", "Graz")]
    assert read(store, "SELECT user_id, user_index FROM user_account ORDER BY 2") == [("u", 0), ("w", 1)]
    again = ingest_users(store, [file], {"user_id": "customer"})
    assert (again.added, again.updated, again.duplicate) == (0, 0, 3)
    changed = ingest_users(store, [csv(tmp_path, "v.csv", "user_id,market", "w,DE", "u,")], {})
    assert (changed.added, changed.updated, changed.duplicate) == (0, 1, 1)
    assert read(store, profiles) == [("u", "CH", "Bern"), ("w", "DE", "Graz")]
    assert len(store.sequences()) == 2
