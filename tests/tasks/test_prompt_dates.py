"""Dates in prompts: token by token, in training and in the search, and out of the labels."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from semconv.backbone.code_tokens import level_tokens
from semconv.data.calendar import GAP_ROWS, PERIOD_DAYS
from semconv.data.histories import Histories
from semconv.data.store import DAY, UNKNOWN_DAY, UNKNOWN_TIME
from semconv.errors import InputError
from semconv.settings.tasks import TaskSettings
from semconv.tasks.data import TaskData
from semconv.tasks.dates import DateRange, DateTokens
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.export import samples
from semconv.tasks.history_tasks import SEQUENTIAL
from semconv.tasks.plan import plan_epoch
from semconv.tasks.rows import RowBuilder, epoch_rows
from semconv.tasks.user_prompts import TokenPrompts
from semconv.tasks.wordings import HISTORY_HEADS, closing, opening
from tests.worlds import plain_rows
from tests.worlds import prompts as case

SETTINGS = TaskSettings(late_position_share=1.0, negative_share=0.5)
LENGTH = 6


def dated(data: TaskData) -> TaskData:
    """The same data with a time for most rows, in the order of each user's rows."""
    rng = np.random.default_rng(8)
    days = np.concatenate([1000 + np.cumsum(rng.integers(0, 90, size)) for size in np.diff(data.offsets)])
    return replace(data, times=np.where(rng.random(len(days)) < 0.1, UNKNOWN_TIME, days * DAY))


@pytest.fixture(scope="module", params=case.TOKENIZERS)
def made(request: pytest.FixtureRequest) -> tuple[PromptEncoder, TaskData]:
    """An encoder with dates, and the data whose dates it knows."""
    model, tokens, level_ids = case.coded(request.param)
    data = dated(case.small_data(case.encoder_of(tokens, level_ids), SETTINGS))
    dates = DateRange.of(data)
    assert dates is not None
    found = DateTokens.add(model, tokens, dates)
    return PromptEncoder(tokens, level_ids, *case.item_codes(40, (11, 12)), 40, found), data


def ids(encoder: PromptEncoder, text: str) -> list[int]:
    return list(encoder.tokenizer(text)["input_ids"])


def test_a_prompt_token_by_token() -> None:
    model, tokens, level_ids = case.coded("metaspace-first")
    dates = DateTokens.add(model, tokens, DateRange(1000, 3, 6))
    encoder = PromptEncoder(tokens, level_ids, *case.item_codes(40, (11, 12)), 40, dates)
    days = np.array([990, 1001, 1001, 1000 + 2 * PERIOD_DAYS, UNKNOWN_DAY, 5000])
    history = Histories(np.array([0]), np.array([6]), np.array([3, 11, 8, 1, 4, 9], dtype=np.int32), days * DAY)
    history = replace(history, times=np.where(days == UNKNOWN_DAY, UNKNOWN_TIME, history.times))
    # Item 11 has no codes, so item 8 follows item 3. Gaps of more than 11 days count as 11, the longest of the training.
    dated = (
        "<a_0><b_0><c_3><period_1><gap_0>, <a_0><b_1><c_0><period_1><gap_5>, <a_0><b_0><c_1><period_3><gap_5>, "
        "<a_0><b_0><c_4><period_0><gap_0>, <a_0><b_1><c_1><period_3><gap_0>"
    )
    for night, wait, length in ((5000, "<gap_1>", 5), (5002, "<gap_3>", 5), (9000, "<gap_5>", 2), (4999, "<gap_0>", 5)):
        prompts = TokenPrompts(encoder, length, np.array([night])).of_users(history, np.array([0]))
        shown = ", ".join(dated.split(", ")[-length:]) + wait
        assert prompts[0].tolist() == ids(encoder, opening(HISTORY_HEADS[0]) + shown + closing(SEQUENTIAL.tails[0]))
    unknown = TokenPrompts(encoder, 5).of_users(history, np.array([0]))[0]
    assert unknown.tolist() == TokenPrompts(encoder, 5, np.array([4999])).of_users(history, np.array([0]))[0].tolist()


def test_each_date_has_a_token_with_a_row_of_its_own() -> None:
    model, tokens, _ = case.coded()
    before, rows = len(tokens), model.get_input_embeddings().weight.detach().clone()
    dates = DateTokens.add(model, tokens, DateRange(0, 2, 3))
    names = ["<period_0>", "<period_1>", "<period_2>", "<gap_0>", "<gap_1>", "<gap_2>"]
    assert (dates.range.names, dates.ids.tolist()) == (names, list(range(before, before + 6)))
    weight = model.get_input_embeddings().weight.detach()
    assert (weight[: len(rows)] == rows).all()
    assert len({tuple(row) for row in weight[dates.ids].tolist()}) == 6
    assert dates.waits.tolist() == [*dates.ids[3:].tolist(), *[before + 5] * (GAP_ROWS - 3)]
    assert (DateTokens.read(tokens, dates.range).ids == dates.ids).all()
    with pytest.raises(InputError, match="lacks the token <period_3>"):
        DateTokens.read(tokens, DateRange(0, 3, 3))


def test_no_times_are_no_dates(made: tuple[PromptEncoder, TaskData]) -> None:
    _, data = made
    assert DateRange.of(replace(data, times=np.full(len(data.items), UNKNOWN_TIME))) is None


def range_of(days: list[list[int]]) -> DateRange:
    """The dates of users who each have events on some days; a negative day is unknown."""
    data = case.small_data(case.encoder_of(*case.coded()[1:]), SETTINGS)
    flat = np.array([day for of_user in days for day in of_user])
    offsets = np.concatenate([[0], np.cumsum([len(of_user) for of_user in days])])
    times = np.where(flat < 0, UNKNOWN_TIME, flat * DAY)
    found = DateRange.of(replace(data, items=np.zeros(len(flat), dtype=np.int32), offsets=offsets, times=times))
    assert found is not None
    return found


def test_dates_that_no_prompt_shows_are_not_known() -> None:
    # The last event of a user is in no history. Its gap of 59 days (row 7) is a wait of 0 or 1 days: the next period begins
    # on day 60, so the question may be asked the same day (row 1) or then (row 2).
    found = range_of([[0, 59, 118]] * 20)
    assert found == DateRange(0, 1, 8, (3, 4, 5, 6), has_unknown=False)
    one_late = range_of([[0, 59, 118]] * 20 + [[0, 59, 118, 119]])  # one history of the second period is too few
    assert (one_late.num_periods, one_late.has_unknown) == (1, False)
    assert range_of([[0, 59, 118, 119]] * 20).num_periods == 2
    assert range_of([[0, 59, 118]] * 20 + [[-1, 3]]).has_unknown


def test_dates_that_are_not_known_count_as_the_nearest() -> None:
    model, tokens, _ = case.coded()
    dates = DateTokens.add(model, tokens, DateRange(1000, 2, 8, (3, 4, 6), has_unknown=False))
    gaps = [int(np.flatnonzero(dates.ids == token)[0]) - 3 for token in dates.waits]
    assert gaps == [0, 1, 2, 2, 5, 5, 5, 7, *[7] * (GAP_ROWS - 8)]
    periods = dates.of_events(np.array([UNKNOWN_DAY, 900, 1000, 1060, 5000]), np.array([0, 5]))[:, 0]
    assert periods.tolist() == dates.ids[[2, 1, 1, 2, 2]].tolist()


def test_dates_of_a_model_are_read_as_they_were_written() -> None:
    for dates in (DateRange(1000, 3, 6), DateRange(1000, 3, 6, (2, 4), has_unknown=False)):
        assert DateRange.of_plain(json.loads(json.dumps(dates))) == dates
    assert DateRange.of_plain([1000, 3, 6]) == DateRange(1000, 3, 6)


@pytest.mark.parametrize("limit", [2048, 120])
def test_rows_equal_those_built_one_at_a_time(made: tuple[PromptEncoder, TaskData], limit: int) -> None:
    encoder, data = made
    settings = replace(SETTINGS, max_prompt_tokens=limit)
    for epoch in (0, 1):
        plan = plan_epoch(data, settings, epoch, LENGTH, encoder.dates)
        builder = RowBuilder(encoder, data, settings)
        rows = epoch_rows(builder, plan, np.random.default_rng(epoch))
        plain, too_long = plain_rows.epoch_rows(encoder, data, plan, limit, np.random.default_rng(epoch))
        assert builder.too_long == too_long
        plain_rows.require_equal(rows, plain)


def test_dates_are_no_labels_and_change_nothing_else(made: tuple[PromptEncoder, TaskData]) -> None:
    encoder, data = made
    assert encoder.dates is not None
    level_ids = level_tokens(encoder.tokenizer, case.LEVELS, case.CODES)
    plain = PromptEncoder(encoder.tokenizer, level_ids, *case.item_codes(40, (11, 12)), 40)
    without, with_dates = (
        epoch_rows(
            RowBuilder(one, data, SETTINGS),
            plan_epoch(data, SETTINGS, 0, LENGTH, one.dates),
            np.random.default_rng(0),
        )
        for one in (plain, encoder)
    )
    of_dates = set(encoder.dates.ids.tolist())
    for ours, theirs in zip(plain_rows.each(with_dates), plain_rows.each(without), strict=True):
        assert [token for token in ours.tokens[0].tolist() if token not in of_dates] == theirs.tokens[0].tolist()
        assert ours.label_tokens.tolist() == theirs.label_tokens.tolist()
        assert ours.history_tokens.tolist() == theirs.history_tokens.tolist()
        assert not {*ours.label_tokens.tolist(), *ours.history_tokens.tolist()} & of_dates


def test_exported_prompts_are_those_of_the_training(made: tuple[PromptEncoder, TaskData]) -> None:
    encoder, data = made
    plan = plan_epoch(data, SETTINGS, 0, LENGTH, encoder.dates)
    rows = epoch_rows(RowBuilder(encoder, data, SETTINGS), plan, np.random.default_rng(0))
    trained = Counter(path for row in plain_rows.each(rows) for path in plain_rows.paths(row, case.LEVELS))
    exported = Counter(
        (tuple(ids(encoder, sample.prompt)), (*ids(encoder, sample.label)[-case.LEVELS :], encoder.end))
        for sample in samples(RowBuilder(encoder, data, SETTINGS), plan)
    )
    assert trained == exported


def test_the_search_reads_what_the_training_read(made: tuple[PromptEncoder, TaskData]) -> None:
    """At each position the history of a training prompt, with dates and wait, is that of the search's prompt."""
    encoder, data = made
    plan = plan_epoch(data, SETTINGS, 0, LENGTH, encoder.dates)
    rows = epoch_rows(RowBuilder(encoder, data, SETTINGS), plan, np.random.default_rng(0))
    trained = Counter(prompt for row in plain_rows.each(rows) for prompt, _ in plain_rows.paths(row, case.LEVELS))
    compared, waits = 0, set()
    for asked in plan.histories.questions():
        if asked.task is not SEQUENTIAL:
            continue
        begin, end = int(data.offsets[asked.user]), asked.start + asked.position
        before = Histories(np.array([0]), np.array([end - begin]), data.items[begin:end], data.times[begin:end])
        last = int(data.times[end - 1])
        night = UNKNOWN_DAY if last == UNKNOWN_TIME else last // DAY + 2 ** (asked.wait - 1) - 1
        searched = TokenPrompts(encoder, LENGTH, np.array([night])).of_users(before, np.array([0]))[0]
        body = searched[len(encoder.heads[0]) : -len(encoder.tails[SEQUENTIAL.name][0])]
        prompt = [*encoder.heads[asked.head], *body, *encoder.tails[SEQUENTIAL.name][asked.tail]]
        assert trained[tuple(int(token) for token in prompt)]
        compared, waits = compared + 1, waits | {asked.wait}
    assert compared > 20
    assert waits > {0, 1}
