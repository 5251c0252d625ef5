"""The store over DuckDB: reading arrays, writing runs, and refused inputs."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semconv.data.store import RunRecord, Store
from semconv.errors import InputError, LockedError, SettingsError
from semconv_warehouse.store.database import insert_arrow, open_database
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.migrate import migrate

ROWS = [  # user, item, position, rating, time, query; u1 comes first, as in a file
    ("u1", "b", 1, None, datetime(2020, 1, 2), "second"),  # noqa: DTZ001
    ("u0", "a", 0, 5.0, None, None),
    ("u1", "a", 0, 3.0, datetime(1970, 1, 1, 0, 0, 1), "first"),  # noqa: DTZ001
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled warehouse, copied for each test."""
    layout = ProjectLayout(tmp_path_factory.mktemp("template"))
    migrate(layout.warehouse)
    _fill(DuckDBStore(layout))
    return layout.warehouse


@pytest.fixture
def store(tmp_path: Path, template: Path) -> DuckDBStore:
    layout = ProjectLayout(tmp_path)
    layout.data.mkdir()
    shutil.copy(template, layout.warehouse)
    return DuckDBStore(layout)


def _fill(store: DuckDBStore) -> None:
    with store.write() as connection:
        items = {
            "item_id": ["b", "a", "c"],
            "item_index": pa.array([1, 0, 2], pa.int32()),
            "title": ["Bee", "Ay", None],
            "description": [None, "first letter", None],
            "categories": [["x", "y"], None, []],
            "is_available": [True, True, False],
        }
        insert_arrow(connection, "item", pa.table(items))
        users = {"user_id": ["u0", "u1"], "user_index": pa.array([0, 1], pa.int32())}
        insert_arrow(connection, "user_account", pa.table(users))
        _insert_interactions(connection, ROWS)


def _insert_interactions(connection, rows) -> None:
    names = ("user_id", "item_id", "position", "rating", "event_time", "query")
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    insert_arrow(connection, "interaction", table)


def run(run_id: str = "r1", **values) -> RunRecord:
    record = {
        "stage": "embed_behavior",
        "status": "running",
        "settings": {"d": 2},
        "inputs": ("x",),
        "fingerprint": "f",
    }
    return RunRecord(run_id=run_id, artifact_path=f"data/runs/{run_id}", version="1", **{**record, **values})


def the_run(store: DuckDBStore) -> RunRecord:
    (record,) = store.runs()
    return record


def vectors(*rows) -> pa.Table:
    ids = [f"i{number}" for number in range(len(rows))]
    return pa.table(
        {"item_id": ids, "vector_source": ["learned"] * len(rows), "vector": pa.array(rows, pa.list_(pa.float32()))}
    )


def test_it_is_a_store(store: DuckDBStore) -> None:
    protocol: Store = store
    assert len(protocol.catalog()) == 3


def test_catalog_is_in_index_order(store: DuckDBStore) -> None:
    catalog = store.catalog()
    assert catalog.item_ids == ["a", "b", "c"]
    assert catalog.titles == ["Ay", "Bee", None]
    assert catalog.descriptions == ["first letter", None, None]
    assert catalog.is_servable.tolist() == [True, True, False]


def test_sequences_are_compressed_rows_in_position_order(store: DuckDBStore) -> None:
    sequences = store.sequences(queries=True)
    assert sequences.user_ids == ["u0", "u1"]
    assert sequences.offsets.tolist() == [0, 1, 3]
    assert sequences.items.tolist() == [0, 0, 1]
    assert sequences.times.tolist() == [np.iinfo(np.int64).min, 1_000_000, 1_577_923_200_000_000]
    np.testing.assert_array_equal(sequences.ratings, np.array([5, 3, np.nan], np.float32))
    assert sequences.queries == [None, "first", "second"]
    assert store.has_queries()
    assert store.sequences().queries is None
    assert (sequences.items.dtype, sequences.offsets.dtype, sequences.ratings.dtype) == (np.int32, np.int64, np.float32)


def test_an_empty_warehouse_gives_empty_arrays(tmp_path: Path) -> None:
    layout = ProjectLayout(tmp_path)
    migrate(layout.warehouse)
    store = DuckDBStore(layout)
    assert len(store.catalog()) == 0
    assert store.sequences().offsets.tolist() == [0]
    assert store.allowed_items("true").shape == (0,)
    assert store.runs() == []


def test_blank_queries_are_none(store: DuckDBStore) -> None:
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE interaction SET query = ' ' WHERE query IS NOT NULL")
    assert not store.has_queries()


def test_content_hash_ignores_storage_order_and_sees_every_change(store: DuckDBStore) -> None:
    before = store.content_hash("interaction")
    with store.write() as connection:
        connection.exec_driver_sql("DELETE FROM interaction")
        _insert_interactions(connection, ROWS[::-1])
    assert store.content_hash("interaction") == before
    hashes = {before}
    for change in (
        "UPDATE interaction SET rating = 4 WHERE user_id = 'u0'",
        "UPDATE interaction SET query = 'x' WHERE position = 1",
        "INSERT INTO interaction SELECT * FROM interaction WHERE user_id = 'u0'",
        "INSERT INTO interaction SELECT * FROM interaction WHERE user_id = 'u0'",
        "DELETE FROM interaction",
    ):
        with store.write() as connection:
            connection.exec_driver_sql(change)
        hashes.add(store.content_hash("interaction"))
    assert len(hashes) == 6


def test_content_hash_of_items_ignores_in_core(store: DuckDBStore) -> None:
    before = store.content_hash("item")
    store.mark_core(np.array([True, False, True]), np.array([True, False]))
    assert store.content_hash("item") == before
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE item SET is_available = false WHERE item_id = 'a'")
    assert store.content_hash("item") != before


def test_mark_core_is_by_index(store: DuckDBStore) -> None:
    store.mark_core(np.array([True, False, True]), np.array([False, True]))
    store.mark_core(np.array([True, True, False]), np.array([False, True]))
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT item_id FROM item WHERE in_core ORDER BY ALL").scalars().all() == [
            "a",
            "b",
        ]
        assert connection.exec_driver_sql("SELECT user_id FROM user_account WHERE in_core").scalars().all() == ["u1"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", [1, 1, 1]),
        ("title = 'Ay'", [1, 0, 0]),
        ("title <> 'Ay' -- not the first", [0, 1, 0]),
        ("list_contains(categories, 'x')", [0, 1, 0]),
        ("false OR is_available", [1, 1, 0]),
        ("title LIKE '%:e%' OR title LIKE '%e'", [0, 1, 0]),
    ],
)
def test_allowed_items(store: DuckDBStore, where: str, expected: list[int]) -> None:
    assert store.allowed_items(where).tolist() == [bool(value) for value in expected]


@pytest.mark.parametrize(
    "where",
    [
        "no_such_column = 1",
        "title",
        "count(*) > 1",
        "true) FROM item; DELETE FROM item; SELECT (true",
        "true), (false",
        "SELECT 1",
        "title::INTEGER = 1",
        "(",
        "item_id IN (SELECT content FROM read_text('/etc/hostname'))",
    ],
)
def test_a_filter_that_is_no_condition_is_a_settings_error(store: DuckDBStore, where: str) -> None:
    with pytest.raises(SettingsError):
        store.allowed_items(where)
    assert len(store.catalog()) == 3


def test_a_run_from_start_to_finish(store: DuckDBStore) -> None:
    store.start_run(run())
    assert [(record.run_id, record.status) for record in store.runs(status="running")] == [("r1", "running")]
    store.finish_run("r1", {"item_embedding": vectors([1, 2], [3, 4])})
    record = the_run(store)
    assert (record.status, record.settings, record.inputs, record.error) == ("finished", {"d": 2}, ("x",), None)
    assert record.started_at is not None
    assert record.finished_at is not None
    assert record.started_at <= record.finished_at
    assert store.runs(stage="codebook") == []
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT run_id, vector FROM item_embedding ORDER BY item_id").all() == [
            ("r1", [1, 2]),
            ("r1", [3, 4]),
        ]


def test_finishing_again_replaces_only_the_rows_of_this_run(store: DuckDBStore) -> None:
    for run_id in ("r1", "r2", "r1"):
        store.start_run(run(run_id))
        store.finish_run(run_id, {"item_embedding": vectors([1, 2])})
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT run_id FROM item_embedding ORDER BY 1").scalars().all() == [
            "r1",
            "r2",
        ]


def test_a_failed_run_can_be_started_again(store: DuckDBStore) -> None:
    store.start_run(run())
    store.fail_run("r1", "boom\nwith details")
    failed = the_run(store)
    assert (failed.status, failed.error) == ("failed", "boom")
    store.start_run(run())
    again = the_run(store)
    assert (again.status, again.error, again.finished_at) == ("running", None, None)
    assert again.started_at == failed.started_at


@pytest.mark.parametrize(
    "rows",
    [
        vectors([1, 2], [1, 2, 3]),
        vectors([1, 2], [1, float("nan")]),
        vectors([1, 2], [1, float("inf")]),
        vectors([1, 2], None),
        vectors([1, 2]).append_column("run_id", [["other"]]),
    ],
)
def test_wrong_rows_are_refused_and_the_run_stays_running(store: DuckDBStore, rows: pa.Table) -> None:
    store.start_run(run())
    good = vectors([1, 2], [3, 4]).rename_columns({"item_id": "user_id"})
    with pytest.raises(InputError):
        store.finish_run("r1", {"user_embedding": good, "item_embedding": rows})
    assert the_run(store).status == "running"
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM user_embedding").scalar_one() == 0


def test_codes_of_different_lengths_are_refused(store: DuckDBStore) -> None:
    store.start_run(run())
    rows = {
        "item_id": ["a", "b"],
        "codes": pa.array([[1, 2], [1]], pa.list_(pa.uint16())),
        "semantic_id": ["x", "y"],
        "vector_source": ["learned"] * 2,
        "code_set_run_id": ["r1"] * 2,
        "is_reassigned": [False] * 2,
    }
    with pytest.raises(InputError, match="lists of different lengths"):
        store.finish_run("r1", {"item_code": pa.table(rows)})


def test_an_unknown_run_is_an_input_error(store: DuckDBStore) -> None:
    for call in (lambda: store.finish_run("zz", {}), lambda: store.fail_run("zz", "")):
        with pytest.raises(InputError, match="zz"):
            call()


def test_metric_rows_have_their_protocol(store: DuckDBStore) -> None:
    row = {
        "method": "model",
        "split": "test",
        "segment": "all",
        "train_cut": "[:-2]",
        "seen": "masked",
        "name": "ndcg",
        "k": 10,
    }
    row |= {"value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "num_users": 3, "protocol": '{"seed": 0}'}
    for run_id in ("r1", "r2"):
        store.start_run(run(run_id))
        store.finish_run(run_id, {"metric": pa.Table.from_pylist([row])})
    (found,) = store.metric_rows("r2")
    assert (found["run_id"], found["protocol"]) == ("r2", {"seed": 0})
    assert store.metric_rows("r3") == []


def test_lists_of_users_are_read_from_text_csv_and_parquet(store: DuckDBStore, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("u1\n\n u0 \nu1\n")
    (tmp_path / "users.csv").write_text("name,user_id\nx,u1\n")
    pq.write_table(pa.table({"user_id": ["u0"]}), tmp_path / "users.parquet")
    assert store.user_ids_file(tmp_path / "users.txt").tolist() == [0, 1]
    assert store.user_ids_file(tmp_path / "users.csv").tolist() == [1]
    assert store.user_ids_file(tmp_path / "users.parquet").tolist() == [0]
    for name, content in (
        ("mark.txt", b"\xef\xbb\xbfu1\n"),
        ("mark.csv", b"\xef\xbb\xbfuser_id\nu1\n"),
        ("wide.txt", "u1\r\n".encode("utf-16")),
        ("semicolon.csv", b"name;user_id\nx;u1\n"),
    ):
        (tmp_path / name).write_bytes(content)
        assert store.user_ids_file(tmp_path / name).tolist() == [1]
    (tmp_path / "bad.txt").write_text("u1\nu7\nu8\n")
    with pytest.raises(InputError, match="2 of 3 users are unknown"):
        store.user_ids_file(tmp_path / "bad.txt")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "broken.parquet").write_text("no parquet")
    for name in ("empty.txt", "other.csv", "missing.csv", "broken.parquet"):
        with pytest.raises(InputError, match=name):
            store.user_ids_file(tmp_path / name)


def test_reading_needs_a_warehouse(tmp_path: Path) -> None:
    store = DuckDBStore(ProjectLayout(tmp_path))
    for call in (store.catalog, lambda: store.start_run(run())):
        with pytest.raises(InputError, match="init"):
            call()
    assert not (tmp_path / "data").exists()


def test_the_database_is_free_after_a_call(store: DuckDBStore) -> None:
    store.catalog()
    with open_database(store.layout.warehouse, read_only=False) as writer, writer.begin():
        writer.exec_driver_sql("UPDATE item SET title = 'x'")
    with pytest.raises(SettingsError):
        store.allowed_items("no condition")
    store.start_run(run())


def test_runs_and_hashes_of_an_unchanged_warehouse_are_read_once(store: DuckDBStore) -> None:
    store.start_run(run())
    runs, digest = store.runs(), store.content_hash("item")
    writer = duckdb.connect(str(store.layout.warehouse))  # what holds the file, no reader can open
    with pytest.raises(LockedError):
        store.catalog()
    assert (store.runs(), store.runs(stage="tune"), store.content_hash("item")) == (runs, [], digest)
    writer.close()


def test_what_another_process_wrote_is_seen_at_once(store: DuckDBStore) -> None:
    other = DuckDBStore(store.layout)
    for number in range(10):
        assert len(store.runs()) == len(store.runs(status="running")) == number
        digest = store.content_hash("item")
        other.start_run(run(f"r{number}"))
        with other.write() as connection:
            insert_arrow(
                connection,
                "item",
                pa.table({"item_id": [f"n{number}"], "item_index": pa.array([9 + number], pa.int32())}),
            )
        assert store.content_hash("item") != digest


def test_a_lost_warehouse_is_an_error_although_its_runs_were_read(store: DuckDBStore) -> None:
    assert store.runs() == []
    store.layout.warehouse.unlink()
    with pytest.raises(InputError, match="no such database"):
        store.runs()
