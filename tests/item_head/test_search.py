"""The search with the item head: brute force over all items, masks, given items, queries, and batches."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from semconv.backbone.forward import ModelInput, decode_hidden
from semconv.data.calendar import Calendar
from semconv.data.histories import Histories
from semconv.errors import InputError
from semconv.item_head import search as search_module
from semconv.item_head.parts import ItemParts, PartsShape
from semconv.item_head.popularity import ItemEvents, MomentTable
from semconv.item_head.prompts import ItemPrompt, Moments, PromptMaker
from semconv.item_head.scores import Added, best_columns
from semconv.item_head.search import Counted, ItemSearcher
from semconv.item_head.sequences import DatedSequences
from semconv.item_head.successors import SuccessorTable
from semconv.search.search import SearchSettings
from tests.worlds import prompts as case

DAY = 86_400_000_000
NUM_ITEMS, WIDTH = 30, 16
CODED = np.array([item for item in range(NUM_ITEMS) if item % 7])  # some items have no codes
HISTORY = 6


@dataclass
class World:
    """A tiny decoder with random item parts, and three users with dates."""

    model: Any
    parts: ItemParts
    table: MomentTable
    prompts: list[ItemPrompt]
    successors: SuccessorTable

    def searcher(self, allowed: np.ndarray | None = None, top_k: int = 5) -> ItemSearcher:
        may = np.ones(NUM_ITEMS, dtype=bool) if allowed is None else allowed
        return ItemSearcher(
            self.model,
            self.parts,
            CODED.astype(np.int32),
            may,
            Counted(self.table, self.successors),
            SearchSettings(top_k, top_k),
        )

    @torch.no_grad()
    def log_probs(self, prompt: ItemPrompt) -> np.ndarray:
        """Score every item by hand, -inf for items without codes."""
        matrix = self.model.get_input_embeddings().weight
        vectors = self.parts.vectors(matrix, torch.arange(NUM_ITEMS))
        parts = self.parts
        assert parts.periods is not None
        assert parts.gaps is not None
        assert parts.waits is not None
        assert parts.popularity is not None
        read = vectors[torch.from_numpy(prompt.items.astype(np.int64))]
        read = read + parts.periods[torch.from_numpy(prompt.periods)] + parts.gaps[torch.from_numpy(prompt.gaps)]
        state = decode_hidden(self.model, ModelInput.causal(None, read[None]))[0, -1] + parts.waits[prompt.wait]
        features = torch.from_numpy(self.table.features[prompt.moment])
        scores = vectors @ state + (parts.popularity @ state) @ features
        weights = parts.successor_weights(state)
        assert weights is not None
        for weight, item in zip(weights, prompt.items[::-1], strict=False):
            numbers = self.successors.numbers(np.array([[item]]))
            scores[torch.from_numpy(numbers.items)] += weight * torch.from_numpy(numbers.values)
        mask = torch.full((NUM_ITEMS,), -torch.inf)
        mask[torch.from_numpy(CODED)] = 0
        found: np.ndarray = (scores + mask).log_softmax(dim=0).numpy()
        return found


@pytest.fixture(scope="module")
def world() -> World:
    torch.manual_seed(0)
    model = case.model(60, kind="llama").eval()
    width = model.get_input_embeddings().weight.shape[1]
    rng = np.random.default_rng(0)
    tokens = np.full((NUM_ITEMS, 2), -1)
    tokens[CODED] = rng.integers(0, 60, (len(CODED), 2))
    days = np.sort(rng.integers(100, 500, 80))
    events = ItemEvents.of(days, rng.integers(0, NUM_ITEMS, 80).astype(np.int32), NUM_ITEMS)
    calendar = Calendar.of(days)
    shape = PartsShape(NUM_ITEMS, width, 3, calendar.num_periods, num_latest=2)
    texts = rng.normal(size=(NUM_ITEMS, 3)).astype(np.float32)
    parts = ItemParts(shape, tokens, texts, rng.integers(0, 30, NUM_ITEMS), seed=0)
    with torch.no_grad():
        for weight in parts.parameters():
            weight.normal_(0.0, 0.3)
        assert parts.successor_factor is not None
        parts.successor_factor.fill_(1.0)
    parts.eval()
    table = MomentTable.on_grid(events)
    items = np.array([1, 2, 7, 3, 4, 5, 6, 8, 9, 10, 2, 11, 12, 13], dtype=np.int32)  # 7 has no codes
    times = np.array([200, 200, 210, 230, 300, 301, 310, 350, 351, 400, 420, 110, 130, 499]) * DAY
    histories = Histories(np.array([0, 11, 13]), np.array([11, 2, 1]), items, times)
    moments = Moments(table, np.array([420, 480, 499]))
    has_codes = np.isin(np.arange(NUM_ITEMS), CODED)
    users = np.arange(3, dtype=np.int32)
    prompts = PromptMaker(calendar, has_codes, HISTORY).prompts(histories, users, moments)
    bought = rng.integers(0, NUM_ITEMS, 200).astype(np.int32)
    unknown = np.full(200, np.iinfo(np.int64).min)
    sequences = DatedSequences.of(np.arange(0, 201, 10), bought, unknown, Calendar(0, 0))
    return World(model, parts, table, prompts, SuccessorTable.count(sequences, NUM_ITEMS))


def test_a_prompt_is_the_latest_items_with_codes_and_their_gaps(world: World) -> None:
    first = world.prompts[0]
    assert first.items.tolist() == [5, 6, 8, 9, 10, 2]
    # Days 301 (one after 300), 310, 350, 351, 400 and 420: the gap before the first shown item is known.
    assert first.gaps.tolist() == [1 + 1, 1 + 3, 1 + 5, 1 + 1, 1 + 6, 1 + 4]
    assert [prompt.wait for prompt in world.prompts] == [1, 1 + 8, 1]


def test_lists_are_the_best_of_all_scores(world: World) -> None:
    found = world.searcher().search(world.prompts, None)
    for row, prompt in enumerate(world.prompts):
        expected = world.log_probs(prompt)
        best = np.argsort(-expected, kind="stable")[:5]
        assert found.items[row].tolist() == best.tolist()
        np.testing.assert_allclose(found.scores[row], expected[best], atol=1e-4)


@pytest.mark.parametrize("factor", [1.0, 4.0, 0.5])
def test_a_blend_gets_the_scores_by_the_weights_as_trained(world: World, factor: float) -> None:
    allowed = np.arange(NUM_ITEMS) != 9
    seen = [np.array([4, 5]), np.array([1, 2]), np.zeros(0, dtype=int)]
    others = np.array([[1, 4, 7, -1]] * 3)  # 4 is seen by the first user; 7 has no codes
    # The world's weights are the trained ones; those of the served model are multiplied.
    # A tuning that continues another one has a factor of its own, here 2, after that of the first.
    with world.parts.with_successors(factor / 2), world.parts.with_successors(2.0):
        found = world.searcher(allowed, top_k=NUM_ITEMS).search(world.prompts, seen, others)
        served = [world.log_probs(prompt) for prompt in world.prompts]
    for row, prompt in enumerate(world.prompts):
        trained = world.log_probs(prompt)
        items = found.items[row][found.items[row] >= 0]
        listable = np.setdiff1d(CODED, [9, *seen[row]])
        assert items.tolist() == listable[np.argsort(-served[row][listable], kind="stable")].tolist()
        np.testing.assert_allclose(found.scores[row, : len(items)], served[row][items], atol=1e-4)
        np.testing.assert_allclose(found.trained_scores[row, : len(items)], trained[items], atol=1e-4)
        np.testing.assert_allclose(found.other_scores[row, :2], served[row][[1, 4]], atol=1e-4)
        np.testing.assert_allclose(found.other_trained_scores[row, :2], trained[[1, 4]], atol=1e-4)
        assert np.isneginf(found.trained_scores[row, len(items) :]).all()
        assert np.isneginf(found.other_trained_scores[row, 2:]).all()


def test_masks_change_the_list_and_no_score(world: World) -> None:
    allowed = np.ones(NUM_ITEMS, dtype=bool)
    allowed[::2] = False
    seen = [np.array([1, 3]), np.array([], dtype=np.int32), np.array([0, 7, 29])]
    others = np.array([[1, 4, 7, -1]] * 3)
    found = world.searcher(allowed).search(world.prompts, seen, others)
    for row, prompt in enumerate(world.prompts):
        expected = world.log_probs(prompt)
        may = np.where(allowed, expected, -np.inf)
        may[seen[row]] = -np.inf
        best = np.argsort(-may, kind="stable")[:5]
        assert found.items[row].tolist() == best.tolist()
        np.testing.assert_allclose(found.scores[row], expected[best], atol=1e-4)
        np.testing.assert_allclose(found.other_scores[row][:2], expected[[1, 4]], atol=1e-4)
        assert np.isneginf(found.other_scores[row][2:]).all()  # an item without codes, and no item


def test_a_batch_equals_each_prompt_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    together = world.searcher().search(world.prompts, None)
    monkeypatch.setattr(search_module, "_USERS_AT_ONCE", 1)
    alone = world.searcher().search(world.prompts, None)
    assert together.items.tolist() == alone.items.tolist()
    np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)


@pytest.mark.parametrize("items_at_once", [1, 4, 7])
def test_blocks_of_items_give_the_same_lists(world: World, monkeypatch: pytest.MonkeyPatch, items_at_once: int) -> None:
    allowed = np.arange(NUM_ITEMS) % 5 != 0
    seen = [np.array([4, 6, 8]), np.array([1, 2]), np.zeros(0, dtype=int)]
    others = np.array([[1, 4, 7, 29, -1]] * 3)
    with world.parts.with_successors(4.0):
        whole = world.searcher(allowed).search(world.prompts, seen, others)
        monkeypatch.setattr(search_module, "_ITEMS_AT_ONCE", items_at_once)
        parts = world.searcher(allowed).search(world.prompts, seen, others)
    assert whole.items.tolist() == parts.items.tolist()
    for one, other in zip(whole[1:], parts[1:], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_added_numbers_change_the_sums_exactly() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 40))
    users, columns = rng.integers(0, 3, 30), rng.integers(0, 40, 30)  # some pairs twice
    values = rng.normal(scale=3, size=30)
    added = Added.of(columns * 3 + users, values, 3)
    expected = scores.copy()
    np.add.at(expected, (users, columns), 0.5 * values)
    before = scores[added.keys % 3, added.keys // 3]
    sums = added.log_sums(np.log(np.exp(scores).sum(axis=1)), before, 0.5)
    np.testing.assert_allclose(sums, np.log(np.exp(expected).sum(axis=1)), rtol=1e-12)
    every = np.tile(np.arange(40), (3, 1))
    np.testing.assert_allclose(scores + 0.5 * added.at(every), expected, rtol=1e-12)
    part, places = added.within(10, 20)
    assert set(added.keys[part] // 3) == {column for column in columns if 10 <= column < 20}
    assert places.tolist() == [
        user * 10 + column - 10 for column, user in map(divmod, added.keys[part], [3] * len(places))
    ]


def test_queries_and_users_share_a_search(world: World) -> None:
    query = ItemPrompt.of_query(np.array([3, 9, 4]))
    empty = replace(query, tokens=np.zeros(0, dtype=np.int64))
    mixed: Sequence[ItemPrompt] = [world.prompts[0], query, empty, world.prompts[1]]
    found = world.searcher().search(mixed, None)
    users = world.searcher().search(world.prompts[:2], None)
    assert found.items[[0, 3]].tolist() == users.items.tolist()
    assert found.items[2].tolist() == [-1] * 5
    with torch.no_grad():
        state = decode_hidden(world.model, ModelInput.causal(torch.tensor([[3, 9, 4]])))[0, -1]
        vectors = world.parts.vectors(world.model.get_input_embeddings().weight, torch.from_numpy(CODED))
        assert found.items[1, 0] == CODED[int((vectors @ state).argmax())]


def test_fewer_items_than_a_list_is_long(world: World) -> None:
    allowed = np.zeros(NUM_ITEMS, dtype=bool)
    allowed[[1, 2]] = True
    found = world.searcher(allowed).search(world.prompts[:1], [np.array([2])])
    assert found.items[0].tolist() == [1, -1, -1, -1, -1]
    assert np.isneginf(found.scores[0, 1:]).all()


def test_arguments_of_other_lengths_are_refused(world: World) -> None:
    with pytest.raises(InputError, match="do not fit 3 prompts"):
        world.searcher().search(world.prompts, [np.array([1])])


def test_a_model_with_nan_is_refused(world: World) -> None:
    broken = world.searcher()
    broken._vectors = broken._vectors.clone()
    broken._vectors[0, 0] = torch.nan
    with pytest.raises(InputError, match="the model yields NaN"):
        broken.search(world.prompts, None)


def test_half_precision_gives_nearly_the_same_scores(world: World) -> None:
    others = np.array([[1, 4]] * 3)
    exact = world.searcher().search(world.prompts, None, others).other_scores
    half = replace(world, model=copy.deepcopy(world.model).to(torch.bfloat16), parts=copy.deepcopy(world.parts))
    np.testing.assert_allclose(half.searcher().search(world.prompts, None, others).other_scores, exact, atol=0.3)


@pytest.mark.parametrize(("columns", "width"), [(1000, 5), (1024, 15), (640, 10), (70, 3), (64, 64)])
def test_best_columns_are_those_of_all_scores(columns: int, width: int) -> None:
    generator = torch.Generator().manual_seed(columns)
    scores = torch.randn(6, columns, generator=generator)
    scores[0, 2:] = -torch.inf  # fewer scores than the list is long
    best, column = best_columns(scores, width)
    assert torch.equal(best, scores.topk(width, dim=1).values)
    assert torch.equal(scores.gather(1, column), best)
    assert all(len(set(row)) == width for row in column.tolist())


def test_infinite_scores_are_refused(world: World) -> None:
    broken = replace(world, parts=copy.deepcopy(world.parts))
    with torch.no_grad():
        broken.parts.own[CODED[0]] = torch.inf
    with pytest.raises(InputError, match="NaN"):
        broken.searcher().search(world.prompts, None)
