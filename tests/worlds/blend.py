"""A small world for a blend: sequences with planted transitions, vectors, days and a random model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semconv.blend.fit import FitSettings, FittedBlend, ModelSearch, fit_blend
from semconv.blend.tables import BlendTables, BlendUsers, EventDays, unit_vectors
from semconv.counter.counts import CounterWeights, count_transitions
from semconv.search.search import CODE_SCORE, Searcher, SearchResult, SearchSettings
from semconv.search.trie import CodeTrie
from tests.worlds.search import Case, make_case
from tests.worlds.sequences import sequences_of

ITEMS = 40
WEIGHTS = CounterWeights(0.6, 0.7, 0.75, 0.5)
DAY = 86_400_000_000


@dataclass(frozen=True)
class World:
    """Users who mostly go from an item to the next item of a hidden ring; no user takes item 39."""

    case: Case
    histories: list[NDArray[np.int32]]
    targets: NDArray[np.int32]
    days: NDArray[np.float64]
    tables: BlendTables
    follower: NDArray[np.int64]

    def users(self, *, masked: bool = True) -> BlendUsers:
        lengths = np.array([len(items) for items in self.histories])
        return BlendUsers(np.concatenate(self.histories), lengths, self.days, self.histories if masked else None)

    def searcher(self, trie: CodeTrie | None = None, **settings: int) -> Searcher:
        trie = self.case.trie if trie is None else trie
        return Searcher(self.case.model, trie, self.case.level_tokens, SearchSettings(scores="trie", **settings))

    def fitted(self, tables: BlendTables | None = None, *, with_model: bool = True, **changes: int) -> FittedBlend:
        """Fit a blend on all users; by default proposals and shortlist hold all items."""
        settings = {"num_proposals": ITEMS, "shortlist_length": ITEMS, "list_length": 5, "seed": 0, **changes}
        allowed = np.ones(ITEMS, dtype=bool)
        search = ModelSearch(self.search, CODE_SCORE) if with_model else None
        return fit_blend(
            tables or self.tables, self.users(), self.targets, allowed, search, FitSettings(**settings, l2=1e-3)
        )

    def search(self, others: NDArray[np.int64]) -> SearchResult:
        """Search with five beams, seen items left out."""
        return self.searcher(top_k=5, beams=5).search(self.case.prompts, self.histories, others)


def make_world(num_users: int = 60, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    ring = rng.permutation(ITEMS - 1)
    follower = np.zeros(ITEMS, dtype=np.int64)
    follower[ring] = np.roll(ring, -1)
    sequences = []
    for _ in range(num_users):
        items = [int(rng.integers(0, ITEMS - 1))]
        while len(items) < rng.integers(4, 9):
            is_next = rng.random() < 0.8
            items.append(int(follower[items[-1]]) if is_next else int(rng.integers(0, ITEMS - 1)))
        sequences.append(np.array(items, dtype=np.int32))
    histories = [items[:-1] for items in sequences]
    items = np.concatenate(histories)
    times = rng.integers(0, 400, len(items)) * DAY
    train = sequences_of(histories, times)
    vectors = unit_vectors(np.arange(ITEMS - 1), rng.normal(size=(ITEMS - 1, 4)), ITEMS)
    tables = BlendTables(
        counter=count_transitions(train, ITEMS, WEIGHTS, 0),
        history_decay=WEIGHTS.history_decay,
        vectors={"behavior": vectors},
        popularity=np.bincount(items, minlength=ITEMS),
        events=EventDays.of(train, ITEMS),
        proposing=("behavior",),
    )
    days = rng.integers(0, 400, num_users).astype(np.float64)
    days[3] = np.nan
    case = make_case(items=ITEMS - 2, prompts=num_users, seed=seed)  # the last two have no codes
    targets = np.array([items[-1] for items in sequences], dtype=np.int32)
    return World(case, histories, targets, days, tables, follower)
