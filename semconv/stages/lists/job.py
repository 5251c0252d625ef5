"""A recommend run as shards: what all of them share, and what one of them does.

A job is arrays and settings, so that it goes to another process or machine as it is. A worker is a job
with its model loaded: it computes one shard at a time and writes its part into the run's folder.
Whoever hands out the shards (see ``engines``) knows nothing about lists.
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
from semconv.blend.jobs import Recommender, ShardUsers, recommend_methods, shards
from semconv.blend.tables import BlendUsers
from semconv.columns import Split
from semconv.data.histories import Histories
from semconv.runs.files import part_file, part_files
from semconv.settings.tree import Settings
from semconv.stages.lists.carrying import Carried
from semconv.stages.lists.parts import holds_part, part_table, write_part
from semconv.stages.tune.tuned import Tuned, TunedFiles, passes


@dataclass(frozen=True)
class JobBlend:
    """A blend, and whose lists a job serves.

    Attributes:
        served: the method of the lists that the run is for.
        days: ``(U,)`` day on which each user is asked: that of the latest interaction under the split, or today's, NaN where
            unknown.
        with_both: whether the parts hold the lists of both methods, to be scored.
    """

    blend: Blend
    served: str
    days: NDArray[np.float64]
    with_both: bool


@dataclass(frozen=True)
class ListJob:
    """Everything that the shards of a run share.

    Attributes:
        folder: of the run, where the parts go.
        fingerprint: of the run.
        tuned: the model, its codes and their trie.
        split, settings: as requested.
        users: ``(R,)`` user_index, ascending; the shards are cut from it.
        user_ids: ``(U,)`` strings by user_index.
        item_ids: ``(I,)`` strings by item_index.
        histories: of all users.
        allowed: ``(I,)`` items that may be recommended.
        fallback_ranking: ``(F,)`` item_index of allowed items, best first.
        vectors: ``(I, D)`` unit behaviour vectors.
        carried: lists that are taken over, None when all are computed.
        blend: what ranks beams and other candidates together, None for the model's own lists.
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
        """Which of ``users`` belong to each shard."""
        return shards(len(self.users), self.settings.recommend.shard_users)

    def num_users(self, place: int) -> int:
        """Users of a shard."""
        return len(self.users[self.shards[place]])

    def path(self, place: int) -> Path:
        """The part of a shard."""
        return self.folder / part_file(place)

    def label(self, place: int) -> str:
        """What the part of a shard says of itself."""
        return f"{self.fingerprint} {place} of {len(self.shards)}"

    def missing(self, say: Callable[[str], None]) -> list[int]:
        """Shards without a whole part of this run; files in their way are removed."""
        wanted = {self.path(place) for place in range(len(self.shards))}
        for path in part_files(self.folder):
            place = int(path.stem.removeprefix("part-")) if path in wanted else -1
            if place >= 0 and holds_part(path, self.label(place)):
                wanted.discard(path)
                continue
            say(f"{path}: cut short, or of another run; its users are computed anew")
            with machine_errors(path):
                path.unlink()
        return [place for place in range(len(self.shards)) if self.path(place) in wanted]


class ListWorker:
    """A job with its model, which is loaded when the first list has to be computed."""

    def __init__(self, job: ListJob, say: Callable[[str], None] = lambda _: None) -> None:
        """``say`` is told of batches that memory did not hold."""
        self.job, self._say = job, say

    def write(self, place: int) -> None:
        """Compute the lists of one shard and write its part.

        Raises:
            InputError: the model is missing or damaged, or the part of the run before.
            MachineError: the part cannot be written, or the model not compiled.
        """
        job = self.job
        chosen = job.shards[place]
        users = job.users[chosen]
        tables = [] if job.carried is None else job.carried.rows(chosen, job.user_ids.take(pa.array(users)))
        computed = users if job.carried is None else users[job.carried.places[chosen] < 0]
        served, others = columns.METHOD_MODEL if job.blend is None else job.blend.served, {}
        if len(computed) or not tables:
            with passes(job.settings):
                lists = recommend_methods(self._recommender, self._shard_users(computed))
            methods = {name: part_table(result, job.user_ids, job.item_ids) for name, result in lists.items()}
            tables.append(methods.pop(served))
            others = methods if job.blend is not None and job.blend.with_both else {}
        write_part(job.path(place), tables, job.label(place), served, others)

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
        prompts, visible = self._tuned.prompts(whole, settings.split.history_length)
        seen = whole if settings.recommend.seen == "masked" else None
        for_blend = None
        if job.blend is not None:
            items, lengths = job.histories.latest(users, settings.split.history_length)
            for_blend = BlendUsers(items, lengths, job.blend.days[users], seen)
        return ShardUsers(users, prompts, visible, seen, for_blend)
