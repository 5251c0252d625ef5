"""The job of a recommend run, which is split into shards of users, and the worker that computes shards.

A job consists of arrays and settings, so it can be sent to another process or machine. A worker is a job with its model
loaded. It computes one shard at a time and writes the shard's Parquet part into the run's folder. The
engines only hand out shards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.artifacts import machine_errors
from semconv.blend.blend import Blend
from semconv.blend.tables import BlendUsers
from semconv.columns import Split
from semconv.data.histories import Histories
from semconv.lists.recommender import Recommender, ShardUsers, cut_into_shards
from semconv.runs.files import part_file, part_files
from semconv.settings.tree import Settings
from semconv.stages.lists.carrying import Carried
from semconv.stages.lists.parts import holds_part, part_table, write_part
from semconv.stages.tune.tuned import Tuned, TunedFiles, passes


@dataclass(frozen=True)
class JobBlend:
    """The blend that a job uses.

    Attributes:
        served: the method whose lists are for serving.
        days: ``(U,)`` the day of each user's recommendations: the day of the latest interaction under the split, or
            today for serving. NaN where unknown.
        with_both: whether the parts hold the lists of the model and of the blend, for evaluation.
    """

    blend: Blend
    served: str
    days: NDArray[np.float64]
    with_both: bool


@dataclass(frozen=True)
class ListJob:
    """The data that all shards of a run share.

    Attributes:
        folder: the folder of the run, where the parts are written.
        fingerprint: the fingerprint of the run.
        tuned: the model, its codes and their trie.
        split, settings: the requested split and the settings.
        users: ``(R,)`` user index, ascending; a shard is a slice of it.
        user_ids: ``(U,)`` ids by user index.
        item_ids: ``(I,)`` ids by item index.
        histories: the histories of all users.
        allowed: ``(I,)`` whether an item may be recommended.
        fallback_ranking: ``(F,)`` item index of allowed items, best first.
        vectors: ``(I, D)`` unit behaviour vectors.
        carried: the lists that users keep from an earlier run; None when all are computed.
        blend: ranks the items of the beam search together with other candidates; None for the model's own lists.
    """

    folder: Path
    fingerprint: str
    tuned: TunedFiles
    split: Split
    settings: Settings
    users: NDArray[np.int32]
    user_ids: pa.Array
    item_ids: pa.Array
    histories: Histories
    allowed: NDArray[np.bool_]
    fallback_ranking: NDArray[np.int32]
    vectors: NDArray[np.float32]
    carried: Carried | None = None
    blend: JobBlend | None = None

    @cached_property
    def shards(self) -> list[slice]:
        """The shards, each as a slice of ``users``."""
        return cut_into_shards(len(self.users), self.settings.recommend.shard_users)

    def num_users(self, shard: int) -> int:
        """Return the number of users of a shard."""
        return len(self.users[self.shards[shard]])

    def path(self, shard: int) -> Path:
        """Return the path of the Parquet part of a shard."""
        return self.folder / part_file(shard)

    def label(self, shard: int) -> str:
        """Return the label in the metadata of a shard's part: the run, the shard's number, and the number of shards."""
        return f"{self.fingerprint} {shard} of {len(self.shards)}"

    def missing(self, say: Callable[[str], None]) -> list[int]:
        """Delete incomplete Parquet parts and parts of other runs; return the shards that have no part then."""
        wanted = {self.path(shard) for shard in range(len(self.shards))}
        for path in part_files(self.folder):
            shard = int(path.stem.removeprefix("part-")) if path in wanted else -1
            if shard >= 0 and holds_part(path, self.label(shard)):
                wanted.discard(path)
                continue
            say(f"{path}: incomplete or of another run; recomputing the lists of its users")
            with machine_errors(path):
                path.unlink()
        return [shard for shard in range(len(self.shards)) if self.path(shard) in wanted]


class ListWorker:
    """Computes shards of a job. It loads the model when the first list has to be computed."""

    def __init__(self, job: ListJob, say: Callable[[str], None] = lambda _: None) -> None:
        """Prepare a worker; ``say`` is called with a line of text for each batch that did not fit into memory."""
        self.job, self._say = job, say

    def write(self, shard: int) -> None:
        """Compute the lists of one shard and write them as its Parquet part.

        Raises:
            InputError: the model is damaged, or a part of the earlier run is.
            MachineError: the part cannot be written, or the model cannot be compiled.
        """
        job = self.job
        chosen = job.shards[shard]
        users = job.users[chosen]
        tables = [] if job.carried is None else job.carried.rows(chosen, job.user_ids.take(pa.array(users)))
        computed = users if job.carried is None else users[job.carried.shards[chosen] < 0]
        served, others = columns.METHOD_MODEL if job.blend is None else job.blend.served, {}
        if len(computed) or not tables:
            with passes(job.settings):
                lists = self._recommender.lists(self._shard_users(computed))
            methods = {name: part_table(result, job.user_ids, job.item_ids) for name, result in lists.items()}
            tables.append(methods.pop(served))
            others = methods if job.blend is not None and job.blend.with_both else {}
        write_part(job.path(shard), tables, job.label(shard), served, others)

    @cached_property
    def _tuned(self) -> Tuned:
        return self.job.tuned.load(self.job.settings, self.job.allowed, self._say)

    @cached_property
    def _recommender(self) -> Recommender:
        job = self.job
        blend = None if job.blend is None else job.blend.blend
        return Recommender(self._tuned.searcher, job.fallback_ranking, job.vectors, blend, job.allowed)

    def _shard_users(self, users: NDArray[np.int32]) -> ShardUsers:
        job, settings = self.job, self.job.settings
        whole = [job.histories.of(int(user)) for user in users]
        prompts = self._tuned.prompts(job.histories, users)
        visible = self._tuned.visible(job.histories, users, settings.split.history_length)
        seen = whole if settings.recommend.seen == "masked" else None
        for_blend = None
        if job.blend is not None:
            items, lengths = job.histories.latest(users, settings.split.history_length)
            for_blend = BlendUsers(items, lengths, job.blend.days[users], seen)
        return ShardUsers(users, prompts, visible, seen, for_blend)
