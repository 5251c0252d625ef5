"""Cuts in time: who is evaluated on what, and that nothing after a cut trains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semconv.data.core import train_part
from semconv.data.splits import counted_cut, history_lengths, targets, train_lengths
from semconv.data.store import UNKNOWN_TIME, Sequences, TimeCuts
from semconv.data.time_cuts import cut_in_time, dated_users, train_cut_text
from semconv.errors import InputError, SettingsError

DAY = 86_400_000_000
# Days of five users' interactions; the validation cut is day 10, the test cut day 20.
DAYS = [[1, 5, 9, 12, 25], [3, 22, 23], [21, 22], [2, 4], [11, 12, 30]]
CUT = TimeCuts(10 * DAY, 20 * DAY)


def sequences(days: list[list[int]], cuts: TimeCuts | None = None) -> Sequences:
    """Make sequences in which item n of user u is 10 u + n."""
    items = [10 * user + position for user, mine in enumerate(days) for position in range(len(mine))]
    flat = [day * DAY for mine in days for day in mine]
    return Sequences(
        [f"u{user}" for user in range(len(days))],
        np.concatenate([[0], np.cumsum([len(mine) for mine in days])]).astype(np.int64),
        np.array(items, np.int32),
        np.array(flat, np.int64),
        np.full(len(items), np.nan, np.float32),
        cuts=cuts,
    )


def test_users_with_items_on_both_sides_of_a_cut_are_evaluated_on_the_first_after_it() -> None:
    cut = sequences(DAYS, CUT)
    assert history_lengths(cut, "test").tolist() == [4, 1, -1, -1, 2]
    assert targets(cut, "test").tolist() == [4, 11, -1, -1, 42]
    # User 1's first item after the validation cut is the test target; user 4 has nothing before it.
    assert history_lengths(cut, "valid").tolist() == [3, -1, -1, -1, -1]
    assert targets(cut, "valid").tolist() == [3, -1, -1, -1, -1]
    assert history_lengths(cut, "serve").tolist() == [5, 3, 2, 2, 3]


def test_items_before_a_cut_are_for_training() -> None:
    cut = sequences(DAYS, CUT)
    assert train_lengths(cut, "[:-2]").tolist() == [3, 1, 0, 2, 0]
    assert train_lengths(cut, "[:-1]").tolist() == [4, 1, 0, 2, 2]
    assert train_lengths(cut, "[:]").tolist() == [5, 3, 2, 2, 3]
    assert train_cut_text(cut, "[:-2]") == "before 1970-01-11 00:00:00"
    assert train_cut_text(cut, "[:]") == "[:]"
    assert train_cut_text(sequences(DAYS), "[:-2]") == "[:-2]"


def test_the_core_is_that_of_the_training_part() -> None:
    """Items 0 and 1 have two interactions each; the second of item 1 comes after the cut."""
    made = replace(
        sequences([[1, 2, 12], [1, 13, 14]], TimeCuts(10 * DAY, 12 * DAY)), items=np.array([0, 1, 2, 0, 1, 3], np.int32)
    )
    assert train_part(made, "[:-2]", 1, 4).items.tolist() == [0, 1, 0]
    assert train_part(replace(made, cuts=None), "[:]", 2, 4).items.tolist() == [0, 1, 0, 1]
    assert train_part(made, "[:-2]", 2, 4).items.tolist() == []


def test_an_item_late_in_time_ends_the_part_before_the_cut_whatever_follows() -> None:
    out_of_order = sequences([[1, 25, 2, 26]], CUT)
    assert train_lengths(out_of_order, "[:-2]").tolist() == [1]
    assert targets(out_of_order, "test").tolist() == [1]


def test_a_share_leaves_so_much_before_the_cut_and_the_same_share_of_that_before_the_other() -> None:
    made = cut_in_time(sequences([list(range(50)), list(range(50, 100))]), {"temporal_at": "0.9"})
    assert made.cuts == TimeCuts(81 * DAY, 90 * DAY)
    assert cut_in_time(made, {"temporal_at": ""}) is made


@pytest.mark.parametrize("asked", ["1970-01-21", "1970-01-21T00:00:00+00:00"])
def test_a_date_is_a_cut(asked: str) -> None:
    made = cut_in_time(sequences(DAYS), {"temporal_at": asked})
    assert made.cuts is not None
    assert made.cuts.test == 20 * DAY
    assert 0 < made.cuts.valid < made.cuts.test


@pytest.mark.parametrize(
    ("asked", "error", "match"),
    [
        ("1.5", SettingsError, "between 0 and 1"),
        ("soon", SettingsError, "must be a date"),
        ("1969-01-01", InputError, "leaves nothing"),
        ("2030-01-01", InputError, "1970-01-02 00:00:00 to 1970-01-31 00:00:00"),
    ],
)
def test_other_cuts_are_refused(asked: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        cut_in_time(sequences(DAYS), {"temporal_at": asked})


def test_users_with_an_unknown_time_are_neither_trained_on_nor_evaluated() -> None:
    made = sequences([*DAYS, [1, 2, 26]])
    times = made.times.copy()
    times[1] = UNKNOWN_TIME  # of user 0
    cut = cut_in_time(replace(made, times=times), {"temporal_at": "1970-01-21"})
    assert dated_users(cut).tolist() == [False, True, True, True, True, True]
    assert train_lengths(cut, "[:-1]").tolist() == [0, 1, 0, 2, 2, 2]
    assert targets(cut, "test").tolist() == [-1, 11, -1, -1, 42, 52]
    assert history_lengths(cut, "serve").tolist() == [5, 3, 2, 2, 3, 3]
    assert train_lengths(cut, "[:]").tolist() == [5, 3, 2, 2, 3, 3]


def test_the_share_before_a_cut_counts_dated_users_alone() -> None:
    made = sequences([list(range(50)), list(range(50, 100)), [500, 501, 502]])
    times = np.where(made.times == 501 * DAY, UNKNOWN_TIME, made.times)
    cut = cut_in_time(replace(made, times=times), {"temporal_at": "0.9"})
    assert cut.cuts == TimeCuts(81 * DAY, 90 * DAY)


def test_a_split_in_time_without_any_dated_user_is_refused() -> None:
    made = sequences(DAYS)
    with pytest.raises(InputError, match="there are none; leave it empty for leave-one-out"):
        cut_in_time(replace(made, times=np.full(15, UNKNOWN_TIME)), {"temporal_at": "0.9"})


def test_counts_go_up_to_the_night_of_the_lists() -> None:
    assert [counted_cut(CUT, split, "[:-2]") for split in ("valid", "test", "serve")] == ["[:-2]", "[:-1]", "[:]"]
    assert [counted_cut(None, split, "[:-2]") for split in ("valid", "test", "serve")] == ["[:-2]", "[:-2]", "[:]"]
