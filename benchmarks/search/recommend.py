"""Lists for many users: users by second and peak memory, for several K, beams, lengths of history and numbers of users.

Each case runs in its own process, so that its peak memory is its own. Users come shard by shard, as in a recommend run.
The blended cases have 20 beams and K = 20, and add transition counts, vectors and days to the model. The last case answers
one query: it opens the file of the trie, closes half of the catalogue, and searches one prompt.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.search.case import LEVEL_TOKENS, history_prompts, make_model, random_codes
from benchmarks.timing import in_own_process, peak_memory_bytes, timed
from semconv.blend.blend import Blend
from semconv.blend.features import feature_names
from semconv.blend.tables import BlendTables, BlendUsers, EventDays, unit_vectors
from semconv.blend.weights import LogitWeights
from semconv.lists.recommender import Recommender, ShardUsers
from semconv.ragged import slices
from semconv.search.search import CODE_SCORE, Searcher, SearchSettings
from semconv.search.trie import CodeTrie
from semconv.search.trie_file import open_trie, save_trie
from semconv.settings.recommend import beam_width

ALONE = Comparison("recommend", "", ["torch", "transformers"])
ITEMS, SHARD = 10_000, 4096
SUCCESSORS, DAYS = 200, 2000


@dataclass(frozen=True)
class Job:
    """One case."""

    users: int
    top_k: int = 20
    beams: int = 20
    history: int = 20
    shortlist: int = 0  # candidates that a blend adds; 0 for the model alone

    def __str__(self) -> str:
        blended = f", blended with {self.shortlist} more candidates" if self.shortlist else ""
        return f"{self.users:,} users, {ITEMS:,} items, history {self.history}, K = {self.top_k}, {self.beams} beams{blended}"


_ONE = {"small": Job(200), "full": Job(1000)}
_USERS = {"small": (200, 800), "full": (1_000, 10_000, 30_000)}


def cases(size: Size) -> list[Job]:
    """Return the cases. Each changes one number of the first."""
    one = _ONE[size]
    return [
        *(replace(one, top_k=k, beams=beam_width(0, k)) for k in (10, 20, 50)),
        *(replace(one, beams=beams) for beams in (40, 80)),
        *(replace(one, shortlist=shortlist) for shortlist in (20, 40)),
        replace(one, history=5),
        *(replace(one, users=users) for users in _USERS[size][1:]),
    ]


def run(size: Size) -> list[Row]:
    """Measure every case, and the answer to one query."""
    return [row for job in cases(size) for row in in_own_process(measure, job)] + one_query()


def measure(job: Job) -> list[Row]:
    """Measure one case."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    codes = random_codes(ITEMS, rng)
    settings = SearchSettings(top_k=job.top_k, beams=job.beams, scores="trie")
    trie = CodeTrie.build(codes, np.arange(ITEMS))
    blend = make_blend(rng, ITEMS, job.shortlist) if job.shortlist else None
    allowed = np.ones(ITEMS, dtype=bool)
    searcher = Searcher(make_model(), trie, LEVEL_TOKENS, settings)
    recommender = Recommender(searcher, np.arange(100), None, blend=blend, allowed=allowed, top_k=job.top_k)
    recommender.lists(_shard(codes, job, slice(0, 8), rng))  # first calls cost more than later ones
    before = peak_memory_bytes()

    def compute() -> None:
        for rows in slices(job.users, SHARD):
            recommender.lists(_shard(codes, job, rows, rng))

    seconds, _ = timed(compute, repeats=1)
    peak = peak_memory_bytes()
    return [
        *ALONE.rates(str(job), "throughput", "users/s", job.users, seconds),
        ALONE.row(str(job), "peak memory", "bytes", ours=float(peak)),
        ALONE.row(str(job), "peak memory beyond model, libraries and eight users", "bytes", ours=float(peak - before)),
    ]


def _shard(codes: NDArray[np.int64], job: Job, rows: slice, rng: np.random.Generator) -> ShardUsers:
    count = rows.stop - rows.start
    prompts = history_prompts(codes, count, job.history, rng)
    seen = [rng.integers(0, ITEMS, job.history, dtype=np.int32) for _ in range(count)]
    for_blend = BlendUsers(np.concatenate(seen), np.full(count, job.history), rng.integers(0, DAYS, count) + 0.0, seen)
    return ShardUsers(np.arange(rows.start, rows.stop, dtype=np.int32), prompts, seen, seen, for_blend)


def make_blend(rng: np.random.Generator, num_items: int, shortlist: int) -> Blend:
    """Draw a blend with all parts: 200 successors and 25 days for each item, vectors of width 32 and 128.

    Args:
        shortlist: number of candidates that the model scores; 0 for a blend without a model.
    """
    days = np.sort(rng.integers(0, DAYS, (num_items, 25)), axis=1).ravel()
    table = BlendTables(
        counter=drawn_counter(rng, num_items),
        history_decay=0.75,
        vectors={name: unit_rows(rng, num_items, width) for name, width in (("behavior", 32), ("text", 128))},
        popularity=rng.integers(0, 100, num_items),
        events=EventDays(np.arange(num_items + 1) * 25, days),
        proposing=("behavior",),
    )
    blend = Blend(table, _weights(feature_names(table)), None, num_proposals=60, shortlist_length=shortlist)
    return replace(blend, weights=_weights(blend.feature_names([CODE_SCORE]))) if shortlist else blend


def _weights(names: tuple[str, ...]) -> LogitWeights:
    return LogitWeights(names, np.zeros(len(names)), np.ones(len(names)), np.ones(len(names)))


def drawn_counter(rng: np.random.Generator, num_items: int) -> sp.csr_array:
    """Draw 200 successors for each item."""
    near = rng.integers(0, num_items, (num_items, SUCCESSORS), dtype=np.int32)
    starts = np.arange(num_items + 1) * SUCCESSORS
    counter = sp.csr_array((rng.random(near.size), near.ravel(), starts), shape=(num_items, num_items))
    counter.sum_duplicates()
    return counter


def unit_rows(rng: np.random.Generator, num_items: int, width: int) -> NDArray[np.float32]:
    """Draw a unit vector for each item, near one of many points, as vectors of similar items are."""
    points = rng.normal(size=(max(1, num_items // 100), width))
    vectors = points[rng.integers(0, len(points), num_items)] + 0.5 * rng.normal(size=(num_items, width))
    return unit_vectors(np.arange(num_items), vectors, num_items)


def one_query() -> list[Row]:
    """Measure the answer to one query, with the model in memory."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    codes, model = random_codes(ITEMS, rng), make_model()
    prompts = [rng.integers(0, 2000, 20)]
    settings = SearchSettings(scores="trie")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trie.safetensors"
        save_trie(file, CodeTrie.build(codes, np.arange(ITEMS)))
        allowed = rng.random(ITEMS) < 0.5

        def answer() -> None:
            trie = open_trie(file).restrict(allowed)
            Searcher(model, trie, LEVEL_TOKENS, settings).search(prompts, [np.arange(20)])

        seconds, _ = timed(answer)
    case = f"one question of 20 tokens, {ITEMS:,} items, half of them closed, model loaded"
    return ALONE.seconds(case, "answer", seconds)


if __name__ == "__main__":
    command(run, __doc__)
