"""Training with histories as items: rows, batches, what a held-out event may change, and learning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from semconv.data.calendar import Calendar
from semconv.data.store import Sequences, day_numbers
from semconv.item_head.epoch import ItemRows
from semconv.item_head.form import ItemForm
from semconv.item_head.parts import NAME, ItemInputs, ItemParts, PartsShape
from semconv.item_head.search import latest_of
from semconv.settings.tasks import TaskSettings
from semconv.settings.tuning import TuningSettings
from semconv.tasks.data import Candidates
from semconv.tasks.registry import TASK_NAMES
from semconv.tasks.selection import task_data
from semconv.tuning.loss import LossSums
from tests.worlds import prompts as case
from tests.worlds.dated_sequences import DAY, dated_sequences

HISTORY, NUM_ITEMS = 4, 8
SETTINGS = TuningSettings(dropout=0.0, own_row_dropout=0.0, learning_rate=1e-3, batch_tokens=64)
TASKS = TaskSettings(query=False, negatives=0)


class World:
    """A tiny decoder with item parts over the items of ``tests.worlds.prompts``."""

    def __init__(self, train: Sequences, tasks: TaskSettings = TASKS) -> None:
        self.model, tokenizer, level_tokens = case.coded()
        self.encoder = case.encoder_of(tokenizer, level_tokens, NUM_ITEMS)
        titles = [f"item number {item}" for item in range(NUM_ITEMS)]
        data = task_data(train, self.encoder.has_codes, titles, [None] * NUM_ITEMS, tasks)
        calendar = Calendar.of(day_numbers(data.times))
        self.form = ItemForm(data, self.encoder, tasks, HISTORY, calendar, 0, num_latest=2)
        self.model.requires_grad_(True)
        width = self.model.get_input_embeddings().weight.shape[1]
        texts = np.random.default_rng(1).normal(size=(NUM_ITEMS, 3)).astype(np.float32)
        shape = PartsShape(NUM_ITEMS, width, 3, calendar.num_periods, num_latest=2)
        self.model.add_module(NAME, ItemParts(shape, self.encoder.item_tokens, texts, self.form.counts, 0))

    def loss(self, rows: ItemRows) -> LossSums:
        module = self.form.loss(self.model, SETTINGS)
        module.eval()
        sums: LossSums = module(self.form.collate(rows))
        return sums


@pytest.fixture(scope="module")
def world() -> World:
    return World(dated_sequences([9, 2, 1, 4, 6], 8))


def test_a_batch_is_the_sum_of_its_rows(world: World) -> None:
    rows = world.form.rows(0)
    together = world.loss(rows)
    alone = [world.loss(rows[row]) for row in range(len(rows))]
    assert float(together.label.detach()) == pytest.approx(sum(float(sums.label.detach()) for sums in alone), rel=1e-4)
    torch.testing.assert_close(together.by_task, torch.stack([sums.by_task for sums in alone]).sum(dim=0))
    assert float(together.by_task.sum()) == pytest.approx(float(together.label.detach()), rel=1e-5)


def test_every_position_but_the_first_has_a_label_and_so_has_every_text(world: World) -> None:
    rows = world.form.rows(0)
    batch = world.form.collate(rows)
    counts = np.bincount(batch.sample_tasks.numpy(), minlength=len(TASK_NAMES))
    known = np.flatnonzero(world.form.counts)
    assert counts.tolist() == [8 + 1 + 3 + 5, 0, len(known), 0]
    assert int(rows.num_samples.sum()) == batch.num_samples
    assert set(batch.labels[counts[0] :].tolist()) == set(known.tolist())
    assert (rows.lengths > 0).all()


def test_batches_hold_every_row_once(world: World) -> None:
    rows = world.form.rows(0)
    batches = world.form.batches(rows, SETTINGS, 0)
    assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
    assert batches == world.form.batches(rows, SETTINGS, 0)
    texts_only = ItemForm(
        world.form.data, world.encoder, replace(TASKS, sequential=False), HISTORY, world.form.calendar, 0
    )
    rows = texts_only.rows(0)
    assert sorted(row for batch in texts_only.batches(rows, SETTINGS, 0) for row in batch) == list(range(len(rows)))


def test_many_texts_beside_few_histories_get_batches_of_their_own(world: World) -> None:
    rows = world.form.rows(0)
    num_windows = len(world.form.windows)
    batches = rows.batches(1, 0, 0)
    assert sorted(row for batch in batches for row in batch) == list(range(len(rows)))
    of_texts = [[row for row in batch if row >= num_windows] for batch in batches]
    assert all(len(texts) <= 1 or max(rows.lengths[texts]) * len(texts) <= 8 for texts in of_texts)
    assert [texts for texts, batch in zip(of_texts, batches, strict=True) if texts == batch] != []
    assert batches == rows.batches(1, 0, 0) != rows.batches(1, 0, 1)


def test_the_first_position_is_a_plain_softmax_over_the_item_vectors(world: World) -> None:
    rows = world.form.rows(0)
    batch = world.form.collate(rows[3])  # after three windows of the first user, the user with two items
    parts, form = getattr(world.model, NAME), world.form
    candidates = torch.from_numpy(np.flatnonzero(form.counts))
    with torch.no_grad():
        vectors = parts.eval().vectors(world.model.get_input_embeddings().weight, candidates)
        inputs = ItemInputs(torch.searchsorted(candidates, batch.items), batch.periods, batch.gaps)
        state = parts.states(world.model, inputs, vectors, 0.0)[0, 0] + parts.waits[batch.waits[0]]
        scores = vectors @ state
        scores += (parts.popularity @ state) @ torch.from_numpy(form.table.features[int(batch.moments[0])])[
            :, candidates
        ]
        weights = parts.successor_weights(state)
        numbers = form.labels.numbers(np.array([10]))  # the second row of the user with two items
        columns = {int(item): column for column, item in enumerate(candidates)}
        assert len(numbers.items)
        for kind, item, value in zip(numbers.kinds, numbers.items, numbers.values, strict=True):
            scores[columns[int(item)]] += weights[int(kind)] * float(value)
        expected = -scores.log_softmax(dim=0)[int(torch.searchsorted(candidates, batch.labels[0]))]
    assert float(world.loss(rows[3]).label.detach()) == pytest.approx(float(expected), rel=1e-4)


def test_a_later_event_changes_nothing_before_it() -> None:
    """The event after the train cut is not in the training data; its date can then change no row, period or moment."""
    train = dated_sequences([6, 7], 8)
    before = World(train).form
    late = World(replace(train, times=np.where(np.arange(13) == 12, train.times.max() + 400 * DAY, train.times))).form
    ours, theirs = before.collate(before.rows(0)), late.collate(late.rows(0))
    # The last row of the second user is a label only: what was read before it stays.
    assert torch.equal(ours.items, theirs.items)
    assert torch.equal(ours.periods, theirs.periods)
    assert torch.equal(ours.gaps, theirs.gaps)
    changed = (ours.waits != theirs.waits) | (ours.moments != theirs.moments)
    assert int(changed[: int(ours.asked.numel())].sum()) <= 1  # the one row whose label moved


def test_without_dates_no_weight_knows_a_date() -> None:
    train = dated_sequences([5, 6], 8)
    world = World(replace(train, times=np.full(11, np.iinfo(np.int64).min)))
    parts = getattr(world.model, NAME)
    assert {name for name, _ in parts.named_parameters()} == {
        "own",
        "text",
        "successors",
        "successor_start",
        "successor_factor",
    }
    assert torch.isfinite(world.loss(world.form.rows(0)).label)


def test_an_epoch_is_a_function_of_its_number(world: World) -> None:
    first, again, second = (world.form.collate(world.form.rows(epoch)) for epoch in (0, 0, 1))
    for name, of_first in vars(first).items():
        of_again = getattr(again, name)
        assert of_first is of_again is None or torch.equal(of_first, of_again)
    assert not torch.equal(first.moments, second.moments) or not torch.equal(first.waits, second.waits)


@pytest.mark.parametrize(("num_latest", "counted"), [(2, 2), (HISTORY, HISTORY), (7, HISTORY)])
def test_labels_count_successors_of_no_item_that_a_search_does_not_read(
    world: World, num_latest: int, counted: int
) -> None:
    form = replace(world.form, num_latest=num_latest)
    last = int(form.data.offsets[1]) - 1  # the ninth item of the first user
    found = form.labels.numbers(np.array([last]))
    read = world.form.data.items[last - HISTORY : last]  # as a search of this label reads it
    latest = latest_of([read], num_latest)
    assert np.unique(found.kinds).tolist() == list(range(counted)) == np.flatnonzero(latest[0] >= 0).tolist()


def test_without_any_sample_there_is_no_batch(world: World) -> None:
    nothing = replace(TASKS, sequential=False, text=False)
    data = replace(world.form.data, texts={name: Candidates.none() for name in world.form.data.texts})
    form = ItemForm(data, world.encoder, nothing, HISTORY, world.form.calendar, 0)
    assert form.batches(form.rows(0), SETTINGS, 0) == []
