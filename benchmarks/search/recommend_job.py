"""A job over very many users: users by second and peak memory, if all lists are computed and if 99 % are carried over.

Users, codes and the lists of the previous run are drawn. The model is tiny, so that the figures show the cost of
everything else. There is no peer. Each job runs in its own process; the memory of that process before the job is a row
too.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.timing import in_own_process, peak_memory_bytes
from semconv.backbone.code_tokens import add_code_tokens
from semconv.backbone.create import create_backbone
from semconv.backbone.load import load_backbone
from semconv.data.histories import Histories
from semconv.data.store import UNKNOWN_TIME, TopK
from semconv.lists.recommender import ShardLists
from semconv.progress import Silent
from semconv.search.trie import CodeTrie
from semconv.search.trie_file import save_trie
from semconv.settings.backbone import BackboneSettings
from semconv.settings.recommend import RecommendSettings
from semconv.settings.tree import Settings
from semconv.stages.codes.item_codes import ItemCodes
from semconv.stages.lists.carrying import Listable, States, carry_over, user_states
from semconv.stages.lists.job import ListJob
from semconv.stages.lists.parts import part_table, write_part
from semconv.stages.lists.run import write_lists
from semconv.stages.tune.tuned import TunedFiles
from semconv.tasks.registry import phrases
from semconv.tuning.model import codes_digest, save_tuned

ALONE = Comparison("recommend_job", "", ["torch", "pyarrow"])
LEVELS, CODES, ITEMS, TOP_K, HISTORY = 3, 32, 10_000, 20, 8
COMPUTED = {"small": (8_000,), "full": (100_000, 1_000_000)}
CARRIED = {"small": (10_000, 40_000), "full": (100_000, 1_000_000)}


@dataclass(frozen=True)
class Measured:
    """Seconds of each step of a job, and bytes of its process."""

    seconds: dict[str, float]
    before: int
    peak: int


def run(size: Size) -> list[Row]:
    """Measure both kinds of jobs for several numbers of users."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder) / "model")
        for work, numbers in ((compute_all, COMPUTED[size]), (carry_most, CARRIED[size])):
            for users in numbers:
                if work is carry_most:
                    write_previous_lists(Path(folder), users)
                measured = in_own_process(work, Path(folder), users)
                rows += rows_of(users, work.__name__.replace("_", " "), measured)
    return rows


def rows_of(users: int, kind: str, measured: Measured) -> list[Row]:
    """Make the rows of one job."""
    case, whole = f"{kind}, {users} users", sum(measured.seconds.values())
    return [
        ALONE.row(case, "throughput", "users/s", ours=users / whole),
        *(ALONE.row(case, step, "s", ours=seconds) for step, seconds in measured.seconds.items()),
        ALONE.row(case, "memory before the job", "bytes", ours=measured.before),
        ALONE.row(case, "peak memory", "bytes", ours=measured.peak),
    ]


def drawn_codes() -> np.ndarray:
    """Draw different codes ``(I, N)``."""
    flat = np.random.default_rng(0).choice(CODES**LEVELS, ITEMS, replace=False)
    return np.stack([flat // CODES**level % CODES for level in reversed(range(LEVELS))], axis=1).astype(np.uint16)


def make_model(folder: Path) -> None:
    """Make an untrained model of one narrow layer."""
    start = folder.with_name("backbone")
    settings = BackboneSettings(width=16, layers=1, heads=2, mlp_width=32, vocabulary=300, context=512)
    create_backbone(start, ["some words to begin with"], [], phrases(), settings)
    model, tokenizer = load_backbone(start)
    add_code_tokens(model, tokenizer, LEVELS, CODES)
    digest = codes_digest(np.arange(ITEMS, dtype=np.int32), drawn_codes())
    save_tuned(
        model, tokenizer, folder, {"codes_digest": digest, "mode": "full", "levels": LEVELS, "codes": CODES, "code_set_run_id": ""}
    )  # fmt: skip


def make_job(folder: Path, users: int, name: str) -> ListJob:
    """Make a job over drawn histories."""
    items = np.random.default_rng(1).integers(ITEMS, size=users * HISTORY, dtype=np.int32)
    index, codes = np.arange(ITEMS, dtype=np.int32), drawn_codes()
    run_folder = folder / name
    run_folder.mkdir(exist_ok=True)
    trie = run_folder / "trie.safetensors"
    save_trie(trie, CodeTrie.build(codes, index))
    return ListJob(
        folder=run_folder,
        fingerprint=name,
        tuned=TunedFiles(
            folder / "model",
            codes_digest(index, codes),
            ItemCodes(index, codes, np.ones(ITEMS, dtype=np.int64)),
            trie,
            ITEMS,
            "trie",
        ),
        split="serve",
        settings=Settings(recommend=RecommendSettings(top_k=TOP_K)),
        users=np.arange(users, dtype=np.int32),
        user_ids=pa.array([f"user-{user:08d}" for user in range(users)]),
        item_ids=pa.array([f"item-{item:06d}" for item in range(ITEMS)]),
        histories=Histories(
            np.arange(users) * HISTORY, np.full(users, HISTORY), items, np.full(len(items), UNKNOWN_TIME)
        ),
        allowed=np.ones(ITEMS, dtype=bool),
        fallback_ranking=index[:100],
        vectors=np.random.default_rng(2).normal(size=(ITEMS, 8)).astype(np.float32),
    )


def compute_all(folder: Path, users: int) -> Measured:
    """Compute the lists of all users with the model."""
    job, before = make_job(folder, users, f"computed-{users}"), peak_memory_bytes()
    started = time.perf_counter()
    write_lists(job, Silent())
    return Measured({"lists": time.perf_counter() - started}, before, peak_memory_bytes())


def write_previous_lists(folder: Path, users: int) -> None:
    """Write drawn lists and user states of a previous run. One user in a hundred will have another state later."""
    job, rng = make_job(folder, users, f"before-{users}"), np.random.default_rng(3)
    states = user_states(job.users, job.histories, job.tuned.codes.codes.astype(np.int64)).states
    states[::100] ^= np.uint64(1)
    States(job.users, states).write(job.folder)
    for shard, chosen in enumerate(job.shards):
        count = len(job.users[chosen])
        lists = (rng.integers(ITEMS - TOP_K, size=(count, 1)) + np.arange(TOP_K)).astype(np.int32)
        scores = np.tile(-np.arange(TOP_K, dtype=np.float32), (count, 1))
        result = ShardLists(TopK(job.users[chosen], lists, scores), np.ones(lists.shape, dtype=np.uint8), lists)
        write_part(job.path(shard), [part_table(result, job.user_ids, job.item_ids)], job.label(shard))


def carry_most(folder: Path, users: int) -> Measured:
    """Find the users whose state changed, compute their lists, and write all parts."""
    job, before = make_job(folder, users, f"carried-{users}"), peak_memory_bytes()
    clock = [time.perf_counter()]
    states = user_states(job.users, job.histories, job.tuned.codes.codes.astype(np.int64))
    clock.append(time.perf_counter())
    listable = Listable(job.item_ids, job.user_ids, job.item_ids, job.histories, is_masked=True)
    shard_users = job.settings.recommend.shard_users
    carried, _ = carry_over(folder / f"before-{users}", shard_users, states, None, listable, print)
    if int((carried.shards < 0).sum()) != -(-users // 100):
        raise SystemExit("the users to compute are not the users that changed")
    clock.append(time.perf_counter())
    write_lists(replace(job, carried=carried), Silent())
    clock.append(time.perf_counter())
    steps = dict(zip(("states", "who keeps a list", "parts"), np.diff(clock).tolist(), strict=True))
    return Measured(steps, before, peak_memory_bytes())


if __name__ == "__main__":
    command(run, __doc__)
