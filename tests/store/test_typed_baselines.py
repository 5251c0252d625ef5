"""The SQL baselines on events with types: the interactions, weights and masks of the arrays, and no trace of carts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from semconv import metrics
from semconv.counter.counts import item_weights
from semconv.counter.smoothed import SmoothedWeights, count_smoothed
from semconv.data import splits
from semconv.data.core import train_part
from semconv.data.event_rules import EventRules
from semconv.data.histories import Histories
from semconv.data.store import BaselineRequest
from semconv.evaluation.transition import Case, counted, counter_ranks
from semconv.settings.smoothed import SmoothedSettings
from semconv_warehouse.ingest import ingest_interactions, ingest_items
from semconv_warehouse.store.duckdb_store import DuckDBStore
from semconv_warehouse.store.layout import ProjectLayout
from semconv_warehouse.store.migrate import migrate
from tests.worlds import event_log

DAY = 86_400


def typed_store(folder: Path, users: Sequence[str]) -> DuckDBStore:
    """Make a warehouse of the events of ``event_log.log``, one a day."""
    layout = ProjectLayout(folder)
    migrate(layout.warehouse)
    store = DuckDBStore(layout)
    kinds = {"b": "buy", "c": "cart", "r": "return", "v": "view", "n": None}
    rows = [
        {"user_id": f"u{user:02}", "item_id": f"i{event[1:]}", "event_time": n * DAY, "event_type": kinds[event[0]]}
        for user, events in enumerate(users)
        for n, event in enumerate(events.split())
    ]
    pl.DataFrame({"item_id": [f"i{n}" for n in range(8)]}).write_parquet(folder / "items.parquet")
    ingest_items(store, [folder / "items.parquet"], {})
    pl.DataFrame(rows).write_parquet(folder / "x.parquet")
    ingest_interactions(store, [folder / "x.parquet"], {})
    return store


@pytest.mark.parametrize("targets_of", [(), ("buy",)])
def test_sql_counts_interactions_with_their_weights(tmp_path: Path, targets_of: tuple[str, ...]) -> None:
    users = event_log.random_log(5, num_users=40, num_items=7)
    rules = EventRules(event_log.WEIGHTS, targets_of)
    store = typed_store(tmp_path, users)
    sequences = store.sequences().with_rules(rules)
    plain = event_log.plain_users(users, rules)
    counts: dict[int, float] = defaultdict(float)
    for user in plain:
        held_out = [target for target in user.targets()[-2:] if user.history(target)]
        end = min((target[0] for target in held_out), default=len(user.events))
        left = [e for e in user.left(end) if not any(user._hides(e, target) for target in held_out)]
        for _, item, kind in user.collapsed(left):
            counts[item] += user.weight(kind)
    popular = store.baseline_top_k(BaselineRequest("popularity", "serve", "[:-2]", "kept", k=8, rules=rules))
    np.testing.assert_allclose(popular.scores[0], [counts[item] for item in popular.items[0]], rtol=1e-6)
    assert popular.items[0].tolist() == sorted(range(8), key=lambda item: (-round(counts[item], 9), item))
    # The counter of SQL and that of the arrays rank alike, and both leave out exactly the seen items.
    histories = Histories.under(sequences, "test")
    held_out_items = splits.targets(sequences, "test")
    chosen = np.flatnonzero(held_out_items >= 0).astype(np.int32)
    train = train_part(sequences, "[:-2]", 1, 8)
    parameters = {"decay": 0.6, "symmetry": 0.7, "history_decay": 0.75, "alpha": 0.5}
    case = Case(
        train,
        [histories.of(int(user)) for user in chosen],
        20,
        held_out_items[chosen],
        [histories.seen_of(int(user)) for user in chosen],
        np.ones(8, dtype=bool),
        item_weights(train, 8),
    )
    request = BaselineRequest("transition", "test", "[:-2]", "masked", 8, parameters=parameters, rules=rules)
    top = store.baseline_top_k(request)
    assert top.users.tolist() == chosen.tolist()
    found = metrics.target_ranks(top.items, held_out_items[chosen])
    np.testing.assert_array_equal(counter_ranks(case, counted(case, parameters), parameters["history_decay"]), found)
    assert (found > 0).all()
    for row, user in enumerate(chosen.tolist()):
        assert not set(top.items[row].tolist()) & set(histories.seen_of(user).tolist())


def test_smoothed_counters_of_sql_and_arrays_weigh_events_alike(tmp_path: Path) -> None:
    rules = EventRules(event_log.WEIGHTS, ())
    store = typed_store(tmp_path, event_log.random_log(5, num_users=40, num_items=7))
    sequences = store.sequences().with_rules(rules)
    train = train_part(sequences, "[:-2]", 1, 8)
    assert train.weights is not None
    assert len(set(train.weights.tolist())) > 1
    tables = count_smoothed(train, 8, SmoothedWeights(**asdict(SmoothedSettings())), 0)
    for name, scores_of in (("transition-smoothed", tables.smoothed), ("transition-two-hops", tables.two_hops)):
        top = store.baseline_top_k(BaselineRequest(name, "test", "[:-2]", "kept", 8, rules=rules))
        items, lengths = Histories.under(sequences, "test").latest(top.users, 20)
        scores = np.take_along_axis(scores_of(items, lengths).toarray(), top.items, axis=1)
        assert (scores > 0).any()
        np.testing.assert_allclose(top.scores, scores, rtol=1e-5, atol=1e-6)


def test_carts_before_purchases_change_no_figure_of_counter_and_popularity(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    plain = [" ".join(f"b{item}" for item in rng.permutation(8)[: rng.integers(3, 8)]) for _ in range(40)]
    carts = [" ".join(f"c{event[1:]} {event}" for event in user.split()) for user in plain]
    rules = EventRules({"cart": 0.3, "buy": 1.0}, ("buy",))
    found = []
    for name, users in (("plain", plain), ("carts", carts)):
        (tmp_path / name).mkdir()
        store = typed_store(tmp_path / name, users)
        held_out = splits.targets(store.sequences().with_rules(rules), "test")
        for method in ("popularity", "transition"):
            top = store.baseline_top_k(BaselineRequest(method, "test", "[:-2]", "masked", 5, rules=rules))
            ranks = metrics.target_ranks(top.items, held_out[top.users])
            found.append((name, method, top.items.tolist(), top.scores.tolist(), ranks.tolist()))
    assert [part[1:] for part in found[:2]] == [part[1:] for part in found[2:]]
    assert any(found[1][4])
