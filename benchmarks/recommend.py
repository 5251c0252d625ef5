"""How the lists of many users grow: users a second and peak memory against K, beams, history length and users.

The blended cases are the one of 20 beams and K = 20 with a counter, vectors and days beside the model.

Each case runs in a process of its own, so that its peak memory is its own; users come shard by shard, as in a recommend run.
Last, one question is answered: the trie's file is opened, half of the catalogue closed, one prompt searched.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from benchmarks.rows import Row, Size, Subject, command, peak_memory_bytes, times_of
from benchmarks.search_case import LEVEL_TOKENS, history_prompts, make_model, random_codes
from semconv.blend.blend import MODEL_FEATURES, Blend
from semconv.blend.features import feature_names
from semconv.blend.tables import BlendTables, BlendUsers, EventDays, unit_vectors
from semconv.blend.weights import LogitWeights
from semconv.lists.recommender import Recommender, ShardUsers, cut_into_shards
from semconv.search.search import Searcher, SearchSettings
from semconv.search.trie import CodeTrie
from semconv.search.trie_file import open_trie, save_trie
from semconv.settings.recommend import beam_width

SUBJECT = Subject("recommend", "", ["torch", "transformers"])
ITEMS, SHARD = 10_000, 4096
SUCCESSORS, DAYS = 200, 2000


@dataclass(frozen=True)
class Job:
    """One case."""

    users: int
    top_k: int = 20
    beams: int = 20
    history: int = 20
    shortlist: int = 0  # of a blend, 0 for the model alone

    def __str__(self) -> str:
        blended = f", blended with {self.shortlist} more candidates" if self.shortlist else ""
        return f"{self.users:,} users, {ITEMS:,} items, history {self.history}, K = {self.top_k}, {self.beams} beams{blended}"


_ONE = {"small": Job(200), "full": Job(1000)}
_USERS = {"small": (200, 800), "full": (1_000, 10_000, 30_000)}


def cases(size: Size) -> list[Job]:
    """Each number by itself."""
    one = _ONE[size]
    return [
        *(replace(one, top_k=k, beams=beam_width(0, k)) for k in (10, 20, 50)),
        *(replace(one, beams=beams) for beams in (40, 80)),
        *(replace(one, shortlist=shortlist) for shortlist in (20, 40)),
        replace(one, history=5),
        *(replace(one, users=users) for users in _USERS[size][1:]),
    ]


def run(size: Size) -> list[Row]:
    """Users a second and peak memory of each case, and the time of one answer."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        return [row for part in processes.map(measured, cases(size)) for row in part] + one_question()


def measured(job: Job) -> list[Row]:
    """One case."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    codes = random_codes(ITEMS, rng)
    settings = SearchSettings(top_k=job.top_k, beams=job.beams, scores="trie")
    trie = CodeTrie.build(codes, np.arange(ITEMS))
    blend = make_blend(job.shortlist, rng) if job.shortlist else None
    allowed = np.ones(ITEMS, dtype=bool)
    searcher = Searcher(make_model(), trie, LEVEL_TOKENS, settings)
    recommender = Recommender(searcher, np.arange(100), None, blend=blend, allowed=allowed)
    recommender.lists(_shard(codes, job, slice(0, 8), rng))  # only a first call pays for these
    before = peak_memory_bytes()

    def compute() -> None:
        for rows in cut_into_shards(job.users, SHARD):
            recommender.lists(_shard(codes, job, rows, rng))

    seconds, _ = times_of(compute, repeats=1)
    peak = peak_memory_bytes()
    return [
        SUBJECT.row(str(job), "throughput", "users/s", ours=job.users / seconds.wall),
        SUBJECT.row(str(job), "throughput, of the processor", "users/s", ours=job.users / seconds.processor),
        SUBJECT.row(str(job), "peak memory", "bytes", ours=float(peak)),
        SUBJECT.row(
            str(job), "peak memory beyond model, libraries and eight users", "bytes", ours=float(peak - before)
        ),
    ]


def _shard(codes: NDArray[np.int64], job: Job, rows: slice, rng: np.random.Generator) -> ShardUsers:
    count = rows.stop - rows.start
    prompts = history_prompts(codes, count, job.history, rng)
    seen = [rng.integers(0, ITEMS, job.history, dtype=np.int32) for _ in range(count)]
    for_blend = BlendUsers(np.concatenate(seen), np.full(count, job.history), rng.integers(0, DAYS, count) + 0.0, seen)
    return ShardUsers(np.arange(rows.start, rows.stop, dtype=np.int32), prompts, seen, seen, for_blend)


def make_blend(shortlist: int, rng: np.random.Generator) -> Blend:
    """All parts on, numbers of no meaning: 200 successors an item, 32 and 128 wide vectors, 25 days an item."""
    table = BlendTables(
        counter=sp.random_array((ITEMS, ITEMS), density=SUCCESSORS / ITEMS, format="csr", rng=rng),
        history_decay=0.75,
        vectors={name: unit_rows(width, rng) for name, width in (("behavior", 32), ("text", 128))},
        popularity=rng.integers(0, 100, ITEMS),
        events=EventDays(np.arange(ITEMS + 1) * 25, np.sort(rng.integers(0, DAYS, (ITEMS, 25)), axis=1).ravel()),
        proposing=("behavior",),
    )
    names = feature_names(table)
    first, weights = (
        LogitWeights(own, np.zeros(len(own)), np.ones(len(own)), np.ones(len(own)))
        for own in (names, (*MODEL_FEATURES, *names))
    )
    return Blend(table, first, weights, num_proposals=60, shortlist_length=shortlist)


def unit_rows(width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A unit vector an item."""
    return unit_vectors(np.arange(ITEMS), rng.normal(size=(ITEMS, width)), ITEMS)


def one_question() -> list[Row]:
    """One answer once the model is there."""
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

        seconds, _ = times_of(answer)
    case = f"one question of 20 tokens, {ITEMS:,} items, half of them closed, model loaded"
    return [
        SUBJECT.row(case, "answer", "s", ours=seconds.wall),
        SUBJECT.row(case, "answer, of the processor", "s", ours=seconds.processor),
    ]


if __name__ == "__main__":
    command(run)
