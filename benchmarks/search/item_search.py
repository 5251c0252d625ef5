"""The search with the item head beside the beam search over codes, and its cost at 17,000, 200,000 and a million items.

Both read histories of 20 items with the same decoder and list 20 items for each user. The item head reads one position an
item and scores every item; the beam search reads five tokens an item. The last rows give the cost of a user beside that
at 17,000 items. The size `full` adds a million items.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.search.case import (
    BEAMS,
    HISTORY,
    LEVEL_TOKENS,
    LEVELS,
    history_prompts,
    make_model,
    make_searcher,
    random_codes,
)
from benchmarks.timing import Seconds, timed_in_turn
from semconv.item_head.parts import ItemParts, PartsShape
from semconv.item_head.popularity import NUM_FEATURES, MomentTable
from semconv.item_head.prompts import ItemPrompt
from semconv.item_head.search import Counted, ItemSearcher
from semconv.item_head.successors import SuccessorTable
from semconv.search.search import SearchSettings
from semconv.search.trie import CodeTrie

PACKAGES = ["torch", "transformers"]
BEAM_SEARCH = Comparison("item_search", "the beam search", PACKAGES)
SMALLEST = Comparison("item_search", "a user at 17,000 items", PACKAGES)
LAYERS = 2  # of the default backbone
LATEST, SUCCESSORS, FACTOR = 7, 100, 2.0  # the defaults, and the factor that validation chose on Games
ITEMS = {"small": (17_000, 200_000), "full": (17_000, 200_000, 1_000_000)}
USERS, PERIODS, GAPS = 512, 12, 14


def run(size: Size) -> list[Row]:
    """Measure top-20 lists of users with histories of 20 items, on one thread."""
    torch.set_num_threads(1)
    rng, rows = np.random.default_rng(0), []
    first: Seconds | None = None
    for num_items in ITEMS[size]:
        codes = random_codes(num_items, rng)
        items, beams = item_searcher(codes), make_searcher(make_model(LAYERS), code_trie(codes), "trie")
        prompts = item_prompts(num_items, rng)
        of_codes = history_prompts(codes, USERS, HISTORY, rng)
        times = timed_in_turn(
            {"items": partial(items.search, prompts, None), "beams": partial(beams.search, of_codes, None)}
        )
        ours, peer = times["items"], times["beams"]
        case = f"{USERS} users, {num_items:,} items"
        rows += BEAM_SEARCH.rates(case, "lists", "users/s", USERS, ours, peer)
        first = first or ours
        rows += SMALLEST.seconds(case, "lists", ours, first)
    return rows


def code_trie(codes: NDArray[np.int64]) -> CodeTrie:
    """Return the trie of all items."""
    return CodeTrie.build(codes, np.arange(len(codes)))


def item_searcher(codes: NDArray[np.int64]) -> ItemSearcher:
    """Return a search with untrained item parts, with dates, popularity and successors."""
    num_items, model = len(codes), make_model(LAYERS)
    tokens = LEVEL_TOKENS[np.arange(LEVELS), codes]
    texts = np.zeros((num_items, 64), dtype=np.float32)
    shape = PartsShape(num_items, model.config.hidden_size, texts.shape[1], PERIODS, LATEST)
    parts = ItemParts(shape, tokens, texts, np.ones(num_items), 0)
    parts.multiply_successors(FACTOR)
    table = MomentTable(np.array([0]), np.ones((2, NUM_FEATURES, num_items), dtype=np.float32))
    everything = np.ones(num_items, dtype=bool)
    coded = np.arange(num_items, dtype=np.int32)
    successors = SuccessorTable(
        np.arange(num_items + 1) * SUCCESSORS,
        random_successors(num_items),
        np.ones(num_items * SUCCESSORS, dtype=np.float32),
        np.full(num_items, float(SUCCESSORS)),
    )
    return ItemSearcher(model, parts, coded, everything, Counted(table, successors), SearchSettings(BEAMS, BEAMS))


def random_successors(num_items: int) -> NDArray[np.int32]:
    """Draw the sorted successors of each item, ``(num_items * SUCCESSORS,)``, in blocks that take little memory."""
    rng = np.random.default_rng(1)
    drawn = np.empty((num_items, SUCCESSORS), dtype=np.int32)
    for start in range(0, num_items, 10_000):
        part = drawn[start : start + 10_000]
        part[:] = np.sort(rng.integers(0, num_items, part.shape, dtype=np.int32))
    return drawn.ravel()


def item_prompts(num_items: int, rng: np.random.Generator) -> list[ItemPrompt]:
    """Draw the inputs of users with random items and dates."""
    none = np.zeros(0, dtype=np.int64)
    return [
        ItemPrompt(
            rng.integers(0, num_items, HISTORY).astype(np.int32),
            rng.integers(0, PERIODS, HISTORY),
            rng.integers(0, GAPS, HISTORY),
            1,
            0,
            none,
        )
        for _ in range(USERS)
    ]


if __name__ == "__main__":
    command(run, __doc__)
