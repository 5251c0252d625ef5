"""A small world in which only the date of the last event tells the next item: learned with dates in prompts alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semconv.data.calendar import PERIOD_DAYS
from semconv.data.histories import Histories
from semconv.data.store import DAY
from semconv.progress import Silent
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie import CodeTrie
from semconv.settings.tasks import TaskSettings
from semconv.tasks.dates import DateRange, DateTokens
from semconv.tasks.encoder import PromptEncoder
from semconv.tasks.selection import task_data
from semconv.tasks.source import PromptSource
from semconv.tasks.user_prompts import TokenPrompts
from semconv.tuning.choices import CodeChoices
from semconv.tuning.form import TokenForm
from semconv.tuning.model import prepare
from semconv.tuning.train import Training, tune
from tests.worlds import prompts as case
from tests.worlds.tuning.training import SETTINGS

NUM_ITEMS, NUM_FIRST, NUM_PERIODS = 10, 8, 6
SUMMER, WINTER = 8, 9
TASKS = TaskSettings(negatives=0, text=False, query=False)


def season(periods: np.ndarray) -> np.ndarray:
    """The item that everybody takes next: in even periods another one than in odd periods."""
    return np.where(periods % 2 == 0, SUMMER, WINTER)


def share_right(folder: Path, *, with_dates: bool) -> float:
    """Tune on users who take some item on some day and then the item of the season; ask for each item and period."""
    rng = np.random.default_rng(0)
    periods = rng.integers(0, NUM_PERIODS, 200)
    firsts = rng.integers(0, NUM_FIRST, 200)
    days = periods * PERIOD_DAYS + rng.integers(0, PERIOD_DAYS - 2, 200)
    whole = case.sequences(np.stack([firsts, season(periods)], axis=1).tolist())
    whole = replace(whole, times=(days[:, None] + [0, 1]).ravel() * DAY)
    data = task_data(whole, np.ones(NUM_ITEMS, dtype=bool), [None] * NUM_ITEMS, [None] * NUM_ITEMS, TASKS)

    model, tokenizer, level_tokens = case.coded()
    index, codes = case.item_codes(NUM_ITEMS)
    dates = DateRange.of(data) if with_dates else None
    tokens = None if dates is None else DateTokens.add(model, tokenizer, dates)
    encoder = PromptEncoder(tokenizer, level_tokens, index, codes, NUM_ITEMS, tokens)
    settings = replace(SETTINGS, epochs=12, dropout=0.0, history_loss=0.0, batch_tokens=1024)
    source = PromptSource(encoder, data, TASKS, 6, Silent())
    form = TokenForm(source.rows, 0, CodeChoices(level_tokens, codes))
    tune(prepare(model, level_tokens, settings), Training(form, None, folder, Silent()), settings)

    asked = [(item, period) for item in range(NUM_FIRST) for period in range(NUM_PERIODS)]
    items, of = (np.array(column) for column in zip(*asked, strict=True))
    asked_days = of * PERIOD_DAYS + 30
    ones = np.ones(len(items), dtype=np.int64)
    histories = Histories(np.arange(len(items)), ones, items.astype(np.int32), asked_days * DAY)
    prompts = TokenPrompts(encoder, 6, asked_days).of_users(histories, np.arange(len(items)))
    trie = CodeTrie.build(codes, index, np.ones(NUM_ITEMS, dtype=np.int64))
    searcher = Searcher(model.eval(), trie, level_tokens, SearchSettings(1, beams=10, scores="trie"))
    found = searcher.search(prompts, None).items[:, 0]
    return float((found == season(of)).mean())


@pytest.mark.parametrize(("with_dates", "low", "high"), [(True, 0.95, 1.0), (False, 0.0, 0.5)])
def test_a_season_is_learned_with_dates_alone(tmp_path: Path, with_dates: bool, low: float, high: float) -> None:
    assert low <= share_right(tmp_path, with_dates=with_dates) <= high
