"""Events become interactions: returns, repeats and weaker events, against a plain reading and by construction."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from semconv.columns import Split, TrainCut
from semconv.data import store
from semconv.data.core import train_part
from semconv.data.event_rules import EventRules
from semconv.data.histories import Histories
from semconv.data.splits import history_lengths, target_rows, targets, train_mask, train_rejections
from semconv.data.store import UNKNOWN_TIME, Sequences, TimeCuts
from semconv.data.time_cuts import cut_in_time
from semconv.errors import SettingsError
from tests.worlds.event_log import WEIGHTS, log, plain_users, random_log
from tests.worlds.sequences import sequences_of

RULES = EventRules(WEIGHTS)
DAY = 86_400_000_000


def test_a_time_in_the_future_is_not_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    monkeypatch.setattr(store, "utc_now", lambda: now)
    moment = int(now.timestamp() * 1e6)
    assert store.newest_time(np.array([moment - DAY, moment + DAY, moment + DAY + 1])) == moment + DAY
    assert store.newest_time(np.array([UNKNOWN_TIME, moment - 5, moment + 9 * DAY])) == moment - 5
    assert store.newest_time(np.array([UNKNOWN_TIME, moment + 9 * DAY])) == moment + 9 * DAY  # there is no other
    assert store.newest_time(np.array([UNKNOWN_TIME])) == UNKNOWN_TIME
    assert store.newest_time(np.zeros(0, dtype=np.int64)) == UNKNOWN_TIME


def test_one_event_in_the_future_ends_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "utc_now", lambda: datetime(1970, 1, 20, tzinfo=UTC))
    plain = sequences_of([[1, 2], [3]])
    times = np.array([10, 18, 9000]) * DAY
    shown = Histories.under(replace(plain, times=times), "serve", seen_days=5)
    assert [shown.seen_of(user).tolist() for user in (0, 1)] == [[2], [3]]


def histories(sequences: Sequences, split: Split) -> list[list[int]]:
    found = Histories.under(sequences, split)
    return [found.of(user).tolist() for user in range(len(sequences))]


@pytest.mark.parametrize("targets_of", [(), ("buy",), ("buy", "cart")])
@pytest.mark.parametrize("collapses", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_every_split_is_that_of_a_plain_reading(seed: int, collapses: bool, targets_of: tuple[str, ...]) -> None:
    users = random_log(seed)
    rules = EventRules(WEIGHTS, targets_of, collapses=collapses)
    sequences = log(users, rules)
    test, valid = targets(sequences, "test"), targets(sequences, "valid")
    held = histories(sequences, "test"), histories(sequences, "valid"), histories(sequences, "serve")
    train = {cut: train_part(sequences, cut, 1, 6) for cut in ("[:-2]", "[:-1]", "[:]")}  # type: ignore[arg-type]
    num_evaluated = 0
    for user, plain in enumerate(plain_users(users, rules)):
        found = plain.targets()
        last = found[-1:] if found and plain.history(found[-1]) else []
        before = found[-2:-1] if len(found) > 1 and plain.history(found[-2]) else []
        assert test[user] == (last[0][1] if last else -1)
        assert valid[user] == (before[0][1] if before else -1)
        assert held[0][user] == (plain.history(last[0]) if last else [])
        assert held[1][user] == (plain.history(before[0]) if before else [])
        assert held[2][user] == plain.training([])
        assert train["[:-2]"].of(user).tolist() == plain.training([*before, *last])
        assert train["[:-1]"].of(user).tolist() == plain.training(last)
        assert train["[:]"].of(user).tolist() == plain.training([])
        num_evaluated += bool(last)
    assert num_evaluated > 20


@pytest.mark.parametrize("split", ["test", "valid"])
def test_a_collapsed_target_is_never_in_its_history(split: Split) -> None:
    for seed in range(3):
        sequences = log(random_log(seed), RULES)
        held_out = targets(sequences, split)
        assert (held_out >= 0).any()
        for user, history in enumerate(histories(sequences, split)):
            assert held_out[user] not in history


def test_a_cart_before_each_purchase_changes_nothing() -> None:
    plain = ["b1 b2 b3 b4 b5", "b3 b1 b4", "b2 b5", "b5 b4 b3 b2"]
    carts = [" ".join(f"c{event[1:]} {event}" for event in user.split()) for user in plain]
    for rules in (RULES, EventRules(WEIGHTS, ("buy",)), EventRules(WEIGHTS, ("buy",), ("buy", "cart"))):
        without, with_carts = log(plain, rules), log(carts, rules)
        for split in ("test", "valid", "serve"):
            assert targets(with_carts, split).tolist() == targets(without, split).tolist()  # type: ignore[arg-type]
            assert histories(with_carts, split) == histories(without, split)  # type: ignore[arg-type]
            seen = [Histories.under(sequences, split) for sequences in (without, with_carts)]  # type: ignore[arg-type]
            for user in range(len(plain)):
                assert set(seen[0].seen_of(user)) == set(seen[1].seen_of(user))
        for cut in ("[:-2]", "[:-1]", "[:]"):
            parts = [train_part(sequences, cut, 2, 6) for sequences in (without, with_carts)]  # type: ignore[arg-type]
            assert parts[0].items.tolist() == parts[1].items.tolist()
            assert parts[0].weights is not None
            assert parts[1].weights is not None
            assert parts[0].weights.tolist() == parts[1].weights.tolist()


def test_a_cart_of_the_test_item_does_not_train_even_long_before_it() -> None:
    """Item 5 is in the cart before the validation target 3 is bought, and bought last."""
    sequences = log(["b1 c5 b2 b3 b5"], RULES)
    assert targets(sequences, "test").tolist() == [5]
    assert targets(sequences, "valid").tolist() == [3]
    assert train_part(sequences, "[:-2]", 1, 6).items.tolist() == [1, 2]
    assert histories(sequences, "valid") == [[1, 5, 2]]
    assert histories(sequences, "test") == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("events", "left"),
    [
        ("b1 b2 r1", [2]),
        ("b1 b1 r1 b2", [1, 2]),  # one of two purchases remains
        ("b1 b1 r1 r1 b2", [2]),
        ("b1 r1 b1 b2", [1, 2]),  # bought again
        ("r1 b1 b2", [1, 2]),  # the return of an earlier purchase, which the log lacks
        ("c1 b1 v1 r1 v1 b2", [2]),  # no event on a returned item is left
        ("v1 r1 b2", [2]),
        ("b1 r2 b2", [1, 2]),
    ],
)
def test_a_return_undoes_the_latest_purchase_before_it(events: str, left: list[int]) -> None:
    assert histories(log([events], RULES), "serve") == [left]


def test_returned_items_are_neither_targets_nor_in_histories_but_rejected() -> None:
    sequences = log(["b1 b2 r2 b3 b4 b5 r5", "b1 b2 b2 r2 b3 b4 b5"], RULES)
    assert targets(sequences, "test").tolist() == [4, 5]
    assert histories(sequences, "test") == [[1, 3], [1, 2, 3, 4]]
    rows = np.flatnonzero(train_rejections(sequences, "[:-2]"))
    assert sequences.items[rows].tolist() == [2]  # of user 1, one purchase remains, so nothing is rejected
    assert sequences.items[train_rejections(sequences, "[:]")].tolist() == [2, 5]
    # A later return is not known at the cut: item 5 is still in the history of a night before it.
    assert targets(log(["b1 b5 b3 b4 r5"], RULES), "test").tolist() == [4]
    assert histories(log(["b1 b5 b3 b4 r5"], RULES), "test") == [[1, 5, 3]]


def test_only_targets_are_held_out_and_mask_but_every_type_is_history() -> None:
    sequences = log(["b1 v2 b3 c4 v5 b6 v7"], EventRules(WEIGHTS, ("buy",)))
    assert targets(sequences, "test").tolist() == [6]
    assert targets(sequences, "valid").tolist() == [3]
    found = Histories.under(sequences, "test")
    assert found.of(0).tolist() == [1, 2, 3, 4, 5]
    assert found.seen_of(0).tolist() == [1, 3]
    masked = log(["b1 v2 b3 c4 v5 b6 v7"], EventRules(WEIGHTS, ("buy",), ("buy", "cart")))
    assert Histories.under(masked, "test").seen_of(0).tolist() == [1, 3, 4]


def test_types_of_equal_weight_do_not_hide_the_target() -> None:
    """Without weights, a view before each purchase is as strong as the purchase."""
    sequences = log(["v1 b1 v2 b2 v3 b3 v4 b4"], EventRules({}, ("buy",)))
    assert targets(sequences, "test").tolist() == [4]
    assert histories(sequences, "test") == [[1, 2, 3]]
    assert train_part(sequences, "[:-2]", 1, 5).items.tolist() == [1, 2]


def test_repeats_collapse_to_the_first_or_are_kept() -> None:
    plain = sequences_of([[0, 1, 2, 3, 0], [4, 5, 4, 6]])
    collapsed = plain.with_rules(EventRules())
    assert targets(collapsed, "test").tolist() == [3, 6]
    assert histories(collapsed, "test") == [[0, 1, 2], [4, 5]]
    assert train_part(collapsed, "[:]", 1, 7).items.tolist() == [0, 1, 2, 3, 4, 5, 6]
    kept = plain.with_rules(EventRules(collapses=False))
    assert targets(kept, "test").tolist() == targets(plain, "test").tolist() == [0, 6]
    assert histories(kept, "test") == histories(plain, "test") == [[0, 1, 2, 3], [4, 5, 4]]


def test_an_item_is_seen_for_a_number_of_days() -> None:
    times = np.array([0, 5, 8, 10, 11]) * DAY
    plain = sequences_of([[0, 1, 0, 2, 3]], times)
    assert Histories.under(plain, "test", 3.0).seen_of(0).tolist() == [0, 2]
    assert Histories.under(plain, "serve", 3.0).seen_of(0).tolist() == [0, 2, 3]
    assert Histories.under(plain, "test", 5.0).seen_of(0).tolist() == [1, 0, 2]
    unknown = sequences_of([[0, 1, 2, 3]])
    assert Histories.under(unknown, "serve", 1.0).seen_of(0).tolist() == [0, 1, 2, 3]


def test_a_returned_item_is_masked_if_its_type_is_named() -> None:
    sequences = log(["b1 b2 r2 b3"], EventRules(WEIGHTS, (), ("buy", "return")))
    assert Histories.under(sequences, "serve").seen_of(0).tolist() == [1, 2, 3]
    again = log(["b1 b2 r2 b3 b2"], EventRules(WEIGHTS, (), ("cart", "return")))
    assert Histories.under(again, "serve").seen_of(0).tolist() == []


def test_cuts_in_time_use_the_events_before_them() -> None:
    """The cuts lie at day 10 and day 20; the user buys item 1 before both and again after them."""
    days = np.array([1, 2, 3, 11, 12, 13, 21, 22, 23, 24]) * DAY
    users = ["b1 c2 b3 c4 b1 b2 c5 b4 b5 b6"]
    sequences = cut_in_time(log(users, RULES, days), {"temporal_at": "1970-01-21"})
    cut = replace(log(users, RULES, days), cuts=TimeCuts(10 * DAY, 20 * DAY))
    assert sequences.cuts is not None
    assert targets(cut, "valid").tolist() == [2]
    assert targets(cut, "test").tolist() == [4]
    assert histories(cut, "valid") == [[1, 3]]
    assert histories(cut, "test") == [[1, 3, 2]]
    assert train_part(cut, "[:-2]", 1, 7).items.tolist() == [1, 3]
    assert train_part(cut, "[:-1]", 1, 7).items.tolist() == [1, 3, 2]


@pytest.mark.parametrize("cut", ["[:-2]", "[:-1]"])
def test_no_event_from_the_held_out_item_on_trains(cut: TrainCut) -> None:
    sequences = log(random_log(9), RULES)
    rows = np.flatnonzero(train_mask(sequences, cut))
    for split in ("test", "valid") if cut == "[:-2]" else ("test",):
        held_out = target_rows(sequences, split)  # type: ignore[arg-type]
        user = np.searchsorted(sequences.offsets, rows, side="right") - 1
        assert ((held_out[user] < 0) | (rows < held_out[user])).all()


def test_unknown_and_negative_targets_are_refused() -> None:
    with pytest.raises(SettingsError, match="names the type bye, which no event has; did you mean buy"):
        log(["b1"], EventRules(WEIGHTS, ("bye",)))
    with pytest.raises(SettingsError, match="names return, whose weight is -1"):
        log(["b1"], EventRules(WEIGHTS, ("return",)))
    with pytest.raises(SettingsError, match="no event has a type"):
        sequences_of([[1]]).with_rules(EventRules({}, ("buy",)))


def test_weights_go_with_the_interactions() -> None:
    sequences = log(["c1 b1 v2 c3 n4", "v1"], RULES)
    train = train_part(sequences, "[:]", 1, 5)
    assert train.items.tolist() == [1, 2, 3, 4, 1]
    assert train.weights is not None
    assert train.weights.tolist() == [1.0, 0.1, 0.3, 1.0, 0.1]
    assert history_lengths(sequences, "serve").tolist() == [4, 1]
