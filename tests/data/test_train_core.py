"""The k-core of the train cut: held-out interactions decide nothing, and nobody loses a list or an evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from semconv.columns import TrainCut
from semconv.data.core import train_core, train_part
from semconv.data.splits import history_lengths, targets
from semconv.data.store import UNKNOWN_TIME, Sequences, TimeCuts

A, B, C, D = range(4)
LOG = [[A, B, C, D], [A, B, D, C], [A, C, B, D], [B, A, C], [A, B], [D]]


def sequences(log: list[list[int]], cuts: TimeCuts | None = None) -> Sequences:
    """Sequences without ratings; with cuts in time, the interaction at position n happened at time n."""
    lengths = [len(mine) for mine in log]
    count = sum(lengths)
    times = np.full(count, UNKNOWN_TIME) if cuts is None else np.concatenate([np.arange(n) for n in lengths])
    return Sequences(
        [f"u{user}" for user in range(len(log))],
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([item for mine in log for item in mine], np.int32),
        times,
        np.full(count, np.nan, np.float32),
        cuts=cuts,
    )


def parts(whole: Sequences, cut: TrainCut, k: int) -> list[list[int]]:
    """The training items of each user."""
    part = train_part(whole, cut, k, num_items=4)
    return [part.of(user).tolist() for user in range(len(part))]


@pytest.mark.parametrize(
    ("cut", "wanted"),
    [
        # Before the cut, C has one interaction, and without C the user 2 has one too. User 3 has one, user 5 has one.
        ("[:-2]", [[A, B], [A, B], [], [], [A, B], []]),
        # D has an interaction of user 1 and one of user 5, who has no other.
        ("[:-1]", [[A, B, C], [A, B], [A, C, B], [B, A], [A, B], []]),
        ("[:]", [[A, B, C, D], [A, B, D, C], [A, C, B, D], [B, A, C], [A, B], []]),
    ],
)
def test_interactions_at_and_after_the_cut_count_for_nobody(cut: TrainCut, wanted: list[list[int]]) -> None:
    assert parts(sequences(LOG), cut, 2) == wanted
    users, items = train_core(sequences(LOG), cut, 2, num_items=4)
    assert users.tolist() == [bool(mine) for mine in wanted]
    assert set(np.flatnonzero(items)) == {item for mine in wanted for item in mine}


def test_the_one_core_is_the_whole_train_cut() -> None:
    assert parts(sequences(LOG), "[:-2]", 1) == [[A, B], [A, B], [A, C], [B], [A, B], [D]]


@pytest.mark.parametrize(
    ("cut", "wanted"),
    [("[:-2]", [[A, B], [A, B], [], [A, B], [A, B], []]), ("[:]", [*LOG[:3], [A, B, C], [A, B], []])],
)
def test_a_cut_in_time_counts_as_the_cut_at_the_end_does(cut: TrainCut, wanted: list[list[int]]) -> None:
    """The validation cut is the third event of every user; so user 3 trains on two items here."""
    log = [*LOG[:3], [A, B, C], *LOG[4:]]
    assert parts(sequences(log, TimeCuts(2, 3)), cut, 2) == wanted


@pytest.mark.parametrize(("cut", "held_out"), [("[:-2]", 2), ("[:-1]", 1)])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_other_held_out_items_leave_training_as_it_is(cut: TrainCut, held_out: int, k: int) -> None:
    rng = np.random.default_rng(0)
    log = [rng.integers(0, 12, length).tolist() for length in rng.integers(1, 9, 40)]
    other = [[*mine[:-held_out], *rng.integers(0, 12, held_out).tolist()] if len(mine) >= 3 else mine for mine in log]
    ours, theirs = (train_part(sequences(rows), cut, k, num_items=12) for rows in (log, other))
    assert 0 < len(ours.items) <= sum(len(mine) for mine in log)
    np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    np.testing.assert_array_equal(ours.items, theirs.items)
    with pytest.raises(AssertionError):  # the test sees a difference where there is one
        np.testing.assert_array_equal(sequences(log).items, sequences(other).items)


def test_users_outside_the_core_are_served_and_evaluated_on_their_whole_sequence() -> None:
    whole = sequences(LOG)
    assert history_lengths(whole, "serve").tolist() == [4, 4, 4, 3, 2, 1]
    assert history_lengths(whole, "valid").tolist() == [2, 2, 2, 1, -1, -1]
    assert history_lengths(whole, "test").tolist() == [3, 3, 3, 2, -1, -1]
    assert targets(whole, "test").tolist() == [D, C, D, C, -1, -1]
    assert len(train_part(whole, "[:-2]", 2, num_items=4)) == len(whole)  # an index for every user
