"""The rankings in SQL against plain Python."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from semconv import metrics
from semconv.columns import Seen, Split, TrainCut
from semconv.counter.smoothed import SmoothedWeights, count_smoothed
from semconv.data import splits
from semconv.data.core import train_part
from semconv.data.histories import Histories
from semconv.data.store import BaselineRequest, TimeCuts, TopK
from semconv.errors import SettingsError
from semconv.evaluation.methods import METHODS, sql_method
from semconv.evaluation.transition import Case, counted, counter_ranks
from semconv.settings.smoothed import SmoothedSettings
from semconv_warehouse.ingest import ingest_interactions, ingest_items
from semconv_warehouse.store.database import insert_arrow
from semconv_warehouse.store.duckdb_store import DuckDBStore, baselines
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.migrate import migrate
from tests.worlds.baselines import NUM_ITEMS, VECTORS, expected

DAY = 86_400
CUTS = TimeCuts(40 * DAY * 1_000_000, 70 * DAY * 1_000_000)


def make_store(folder: Path, histories: Sequence[Sequence[int]], num_items: int = NUM_ITEMS) -> DuckDBStore:
    """Make a warehouse in which user u has the items ``histories[u]``, one every ten days."""
    layout = ProjectLayout(folder)
    migrate(layout.warehouse)
    store = DuckDBStore(layout)
    pl.DataFrame({"item_id": [f"i{n}" for n in range(num_items)]}).write_parquet(folder / "items.parquet")
    ingest_items(store, [folder / "items.parquet"], {})
    rows = [
        {"user_id": f"u{user}", "item_id": f"i{item}", "event_time": (1 + n) * 10 * DAY, "source_position": n}
        for user, history in enumerate(histories)
        for n, item in enumerate(history)
    ]
    pl.DataFrame(rows).write_parquet(folder / "x.parquet")
    ingest_interactions(store, [folder / "x.parquet"], {})
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DuckDBStore:
    """Forty users with repeated items; sequences have from one item to more than fit into a history."""
    random = np.random.default_rng(3)
    lengths = [1, 2, 3, 4, 28, 27, *random.integers(2, 12, size=34)]
    popular = random.permutation(NUM_ITEMS - 4)  # four items have no interaction
    histories = [popular[np.minimum(random.geometric(0.12, size=n) - 1, len(popular) - 1)].tolist() for n in lengths]
    made = make_store(tmp_path_factory.mktemp("baselines"), histories)
    for run_id, scale in (("vectors", 1.0), ("others", -1.0)):
        rows = pa.table(
            {
                "run_id": [run_id] * len(VECTORS),
                "item_id": [f"i{item}" for item in VECTORS],
                "vector_source": ["learned"] * len(VECTORS),
                "vector": pa.array(
                    [[scale * x for x in vector] for vector in VECTORS.values()], pa.list_(pa.float32())
                ),
            }
        )
        with made.write() as connection:
            insert_arrow(connection, "item_embedding", rows)
    return made


def lists(top: TopK) -> dict[int, list[tuple[int, float]]]:
    return {
        int(user): [(int(item), float(score)) for item, score in zip(items, scores, strict=True) if item >= 0]
        for user, items, scores in zip(top.users, top.items, top.scores, strict=True)
    }


def assert_same(found: dict[int, list[tuple[int, float]]], wanted: dict[int, list[tuple[int, float]]]) -> None:
    assert found.keys() == wanted.keys()
    for user, ranking in wanted.items():
        assert [item for item, _ in found[user]] == [item for item, _ in ranking], f"user {user}"
        np.testing.assert_allclose(
            [score for _, score in found[user]], [score for _, score in ranking], rtol=1e-5, atol=1e-6
        )


CASES = [
    ("popularity", "test", "[:-2]", "masked"),
    ("popularity", "serve", "[:]", "kept"),
    ("recent-popularity", "test", "[:-2]", "masked"),
    ("recent-popularity", "serve", "[:]", "kept"),
    ("transition", "test", "[:-2]", "masked"),
    ("transition", "test", "[:-1]", "kept"),
    ("transition", "valid", "[:-2]", "masked"),
    ("transition", "serve", "[:]", "masked"),
    ("transition-smoothed", "test", "[:-2]", "masked"),
    ("transition-two-hops", "valid", "[:-2]", "kept"),
    ("item-cosine", "test", "[:-2]", "masked"),
    ("item-cosine", "serve", "[:]", "kept"),
]


@pytest.mark.parametrize(("name", "split", "train_cut", "seen"), CASES)
def test_sql_equals_the_definition(
    store: DuckDBStore, name: str, split: Split, train_cut: TrainCut, seen: Seen
) -> None:
    request = BaselineRequest(name, split, train_cut, seen, k=12, vectors="vectors")
    assert_same(lists(store.baseline_top_k(request)), expected(store, request))


@pytest.mark.parametrize("name", ["popularity", "recent-popularity", "transition"])
@pytest.mark.parametrize(
    ("split", "train_cut"), [("test", "[:-2]"), ("test", "[:-1]"), ("valid", "[:-2]"), ("serve", "[:]")]
)
def test_sql_and_arrays_cut_at_the_same_times(store: DuckDBStore, name: str, split: Split, train_cut: TrainCut) -> None:
    request = BaselineRequest(name, split, train_cut, "masked", k=12, cuts=CUTS)
    wanted = expected(store, request)
    assert_same(lists(store.baseline_top_k(request)), wanted)
    assert 0 < len(wanted) <= len(lists(store.baseline_top_k(replace(request, cuts=None))))


@pytest.mark.parametrize(("split", "train_cut"), [("test", "[:-1]"), ("serve", "[:]")])
def test_sql_and_arrays_leave_the_same_users_without_dates_out(
    tmp_path: Path, split: Split, train_cut: TrainCut
) -> None:
    made = make_store(tmp_path, [[user % 4, 5, 6, 7, 8, 9, 10, 11, 12] for user in range(6)])
    with made.write() as connection:
        connection.exec_driver_sql("UPDATE interaction SET event_time = NULL WHERE user_id = 'u2' AND position = 3")
    request = BaselineRequest("transition", split, train_cut, "masked", k=12, cuts=CUTS)
    found = lists(made.baseline_top_k(request))
    assert_same(found, expected(made, request))
    assert (2 in found) == (split == "serve")


def test_items_added_by_popularity_are_marked(store: DuckDBStore) -> None:
    for name in ("transition", "item-cosine"):
        request = BaselineRequest(name, "test", "[:-2]", "masked", k=25, vectors="vectors")
        top = store.baseline_top_k(request)
        assert top.is_filler is not None
        np.testing.assert_array_equal(
            top.is_filler, (top.items >= 0) & (top.scores == (0 if name == "transition" else -2))
        )
        assert top.is_filler.any()
        assert not top.is_filler.all()


@pytest.mark.parametrize(
    "changed", [{}, {"reach": 3, "symmetry": 0.0, "hop_items": 2, "hop_successors": 4, "history_decay": 0.4}]
)
def test_arrays_and_sql_of_the_smoothed_counters_score_alike(store: DuckDBStore, changed: dict[str, Any]) -> None:
    weights = SmoothedWeights(**{**asdict(SmoothedSettings()), **changed})
    sequences = store.sequences()
    tables = count_smoothed(train_part(sequences, "[:-2]", 1, NUM_ITEMS), NUM_ITEMS, weights, 0)
    for name, scores_of in (("transition-smoothed", tables.smoothed), ("transition-two-hops", tables.two_hops)):
        parameters = {key: value for key, value in asdict(weights).items() if key in sql_method(name).defaults()}
        top = store.baseline_top_k(BaselineRequest(name, "test", "[:-2]", "kept", NUM_ITEMS, 6, parameters))
        items, lengths = Histories.under(sequences, "test").latest(top.users, 6)
        found = scores_of(items, lengths).toarray()
        assert (found > 0).any()
        for row, (listed, values) in enumerate(zip(top.items, top.scores, strict=True)):
            np.testing.assert_allclose(found[row, listed], values, rtol=1e-5, atol=1e-8)


def test_arrays_and_sql_of_the_transition_counter_rank_alike(store: DuckDBStore) -> None:
    sequences = store.sequences()
    allowed = np.arange(NUM_ITEMS) != 7
    train = train_part(sequences, "[:-2]", 1, NUM_ITEMS)
    ends, held_out = splits.history_lengths(sequences, "valid"), splits.targets(sequences, "valid")
    users = np.flatnonzero(held_out >= 0).astype(np.int32)
    popularity = np.bincount(train.items, minlength=NUM_ITEMS)
    for is_masked, parameters in (
        (True, {"decay": 0.6, "symmetry": 0.7, "history_decay": 0.75, "alpha": 0.5}),
        (False, {"decay": 1.5, "symmetry": 0.0, "history_decay": 0.25, "alpha": 1.0}),
    ):
        histories = [sequences.of(u)[: ends[u]] for u in users]
        case = Case(train, histories, 4, held_out[users], histories if is_masked else None, allowed, popularity)
        request = BaselineRequest(
            "transition", "valid", "[:-2]", "masked" if is_masked else "kept", NUM_ITEMS, 4, parameters, users, allowed
        )
        wanted = metrics.target_ranks(store.baseline_top_k(request).items, held_out[users])
        np.testing.assert_array_equal(
            counter_ranks(case, counted(case, parameters), parameters["history_decay"]), wanted
        )


@pytest.mark.parametrize("cut", ["[:-2]", "[:-1]", "[:]"])
def test_baselines_count_the_whole_train_cut_and_nothing_after_it(tmp_path: Path, cut: TrainCut) -> None:
    """Users 2, 3 and 5 are outside the 2-core of the train cut [:-2] (tests/data/test_train_core.py)."""
    log = [[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3], [1, 0, 2], [0, 1], [3]]
    store = make_store(tmp_path, log, num_items=5)
    counts = np.bincount(train_part(store.sequences(), cut, 1, 5).items, minlength=5)
    top = store.baseline_top_k(BaselineRequest("popularity", "serve", cut, "kept", k=5))
    assert top.users.tolist() == list(range(6))
    for items, scores in zip(top.items, top.scores, strict=True):
        np.testing.assert_array_equal(counts[items], scores)
    wanted = {"[:-2]": [4, 4, 1, 1, 0], "[:-1]": [5, 5, 2, 2, 0], "[:]": [5, 5, 4, 4, 0]}
    assert counts.tolist() == wanted[cut]


def test_parameters_and_history_length_have_effect(store: DuckDBStore) -> None:
    parameters = {"decay": 1.0, "symmetry": 0.0, "history_decay": 2.0, "alpha": 1.0}
    request = BaselineRequest("transition", "test", "[:-2]", "kept", k=5, history_length=2, parameters=parameters)
    assert_same(lists(store.baseline_top_k(request)), expected(store, request))


def test_lists_hold_allowed_items_only_and_stay_full(store: DuckDBStore) -> None:
    items = np.arange(NUM_ITEMS) % 2 == 0
    for name in ("popularity", "recent-popularity", "transition"):
        request = BaselineRequest(name, "serve", "[:]", "kept", k=NUM_ITEMS // 2, items=items)
        top = store.baseline_top_k(request)
        assert all(sorted(row) == np.flatnonzero(items).tolist() for row in top.items.tolist())
        assert_same(lists(top), expected(store, request))


def test_batches_and_some_users_equal_all(store: DuckDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    request = BaselineRequest("transition", "test", "[:-2]", "masked", k=8)
    whole = lists(store.baseline_top_k(request))
    monkeypatch.setattr(baselines, "USERS_A_BATCH", 7)
    assert lists(store.baseline_top_k(request)) == whole
    users = np.array([30, 2, 9, 0], dtype=np.int32)  # user 0 has one item, so is served but not evaluated
    some = store.baseline_top_k(BaselineRequest("transition", "test", "[:-2]", "masked", k=8, users=users))
    assert lists(some) == {user: whole[user] for user in (2, 9, 30)}
    assert (some.users.dtype, some.items.dtype, some.scores.dtype) == (np.int32, np.int32, np.float32)
    none = store.baseline_top_k(BaselineRequest("transition", "test", "[:-2]", "masked", k=8, users=users[:0]))
    assert none.items.shape == (0, 8)


def test_a_list_is_short_only_where_fewer_items_are_left(tmp_path: Path) -> None:
    store = make_store(tmp_path, [[0, 1, 2], [1, 2, 3, 0]], num_items=5)
    top = store.baseline_top_k(BaselineRequest("transition", "serve", "[:]", "masked", k=4))
    assert top.items.tolist() == [[3, 4, -1, -1], [4, -1, -1, -1]]
    assert top.scores[1].tolist() == [0.0, -np.inf, -np.inf, -np.inf]


def test_removed_items_are_ranked_in_a_test_but_not_served(store: DuckDBStore, tmp_path: Path) -> None:
    layout = ProjectLayout(tmp_path)
    layout.data.mkdir()
    shutil.copy(store.layout.warehouse, layout.warehouse)
    own = DuckDBStore(layout)
    best = int(own.baseline_top_k(BaselineRequest("popularity", "serve", "[:]", "kept", k=1)).items[0, 0])
    with own.write() as connection:
        connection.exec_driver_sql("UPDATE item SET is_available = false WHERE item_index = ?", (best,))
    assert best not in own.baseline_top_k(BaselineRequest("popularity", "serve", "[:]", "kept", k=5)).items
    assert best in own.baseline_top_k(BaselineRequest("popularity", "test", "[:-2]", "kept", k=5)).items


def test_without_any_time_recent_popularity_equals_popularity(tmp_path: Path) -> None:
    store = make_store(tmp_path, [[0, 1, 2], [1, 2, 3, 0], [2, 4, 1]], num_items=6)
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE interaction SET event_time = NULL")
    plain, recent = (
        store.baseline_top_k(BaselineRequest(name, "test", "[:-2]", "masked", k=5))
        for name in ("popularity", "recent-popularity")
    )
    assert plain.items.tolist() == recent.items.tolist()
    np.testing.assert_array_equal(plain.scores, recent.scores)


def test_a_time_in_the_far_future_counts_as_no_time(tmp_path: Path) -> None:
    store = make_store(tmp_path, [[0, 1, 2], [1, 2, 3, 0], [2, 4, 1], [5, 5, 5], [4, 3, 0, 1]], num_items=6)
    request = BaselineRequest("recent-popularity", "serve", "[:]", "kept", k=6)
    found = []
    for time in ("NULL", "TIMESTAMP '2099-01-01'"):
        with store.write() as connection:
            connection.exec_driver_sql(f"UPDATE interaction SET event_time = {time} WHERE user_id = 'u1'")
        found.append(store.baseline_top_k(request))
    np.testing.assert_array_equal(found[0].items, found[1].items)
    np.testing.assert_array_equal(found[0].scores, found[1].scores)


@pytest.mark.parametrize(
    ("name", "parameters"), [("neighbours", {}), ("transition", {"half_life_days": 3}), ("popularity", {"decay": 1})]
)
def test_unknown_names_are_settings_errors(store: DuckDBStore, name: str, parameters: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"unknown baseline|no parameter"):
        store.baseline_top_k(BaselineRequest(name, "test", "[:-2]", "masked", k=3, parameters=parameters))


def test_every_file_says_which_database_it_is_for() -> None:
    folder = baselines.package_folder("sql") / "baselines"
    files = sorted(folder.glob("*.sql"))
    of_methods = {name for method in METHODS for name in (method.sql_before, method.sql) if name}
    assert {file.stem for file in files} == {"best_of_scored", "sequences"} | of_methods
    for file in files:
        assert file.read_text().startswith("-- database: warehouse.duckdb")
        assert "Parameters: $" in file.read_text().partition("\n")[0]
