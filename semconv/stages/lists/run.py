"""The stage that makes top-K lists: decide which users are computed, and write their lists shard by shard.

This process computes the shards, or Ray workers do. Both write the same files, so a killed job can be resumed with
another engine.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from semconv import columns
from semconv.backbone.machine import lists_device, require_compiler
from semconv.blend.tables import BlendUsers
from semconv.lists.recommender import Recommender, ShardUsers
from semconv.progress import Progress
from semconv.runs.book import Outcome, StageRequest
from semconv.runs.lineage import Lineage
from semconv.runs.workspace import Workspace
from semconv.settings.tree import Settings
from semconv.stages import stage_settings
from semconv.stages.agreement import require_held_out
from semconv.stages.blend.choice import ChosenBlend, chosen_blend
from semconv.stages.lists.job import ListJob, Request, list_job
from semconv.stages.lists.parts import part_table, write_part
from semconv.stages.lists.ray_engine import ray_shards, require_ray
from semconv.stages.tune.tuned import Tuned, passes


def recommend_run(workspace: Workspace, lineage: Lineage, request: Request) -> Outcome:
    """Make the lists of the requested users, shard by shard.

    Args:
        lineage: the current lineage of the model, or of the blend without a model.

    Raises:
        SettingsError: the engine is not installed, a filter is not a condition or allows no item, the settings ask for
            other scores or another mask than the model or its blend was fitted for, or the lists are for an evaluation on
            items that the model was trained on.
    """
    require_engine(workspace.settings)
    require_held_out(request.split, lineage)
    chosen = chosen_blend(workspace, lineage, request.split)

    def compute(folder: Path) -> dict[str, pa.Table]:
        job, states = list_job(workspace, lineage, request, chosen, folder)
        states.write(folder)
        write_lists(job, workspace.progress)
        return {}

    return workspace.book.execute(_list_request(workspace, lineage, request, chosen), compute)


def list_request(workspace: Workspace, lineage: Lineage, request: Request) -> StageRequest:
    """Return everything that determines the lists of a recommend run."""
    return _list_request(workspace, lineage, request, chosen_blend(workspace, lineage, request.split))


def _list_request(workspace: Workspace, lineage: Lineage, request: Request, chosen: ChosenBlend | None) -> StageRequest:
    made = (lineage.tuned, *lineage.code_runs, lineage.behavior, None if chosen is None else chosen.record)
    inputs = tuple(run for run in made if run is not None)
    settings = {
        **stage_settings.recommend(workspace, lineage),
        "split": request.split,
        "users": users_digest(request.users),
        "where": request.where or "",
        "history_length": workspace.settings.split.history_length,
        "train_cut": lineage.split["train_cut"],
        "pass": request.pass_kind,
        **({} if chosen is None else {"method": chosen.served}),
        **{name: value for name, value in lineage.split.items() if name == "events"},
    }
    content = {
        "refresh": users_digest(request.refresh),
        "carry_from": "" if request.carry_from is None else request.carry_from.fingerprint,
    }
    tables = ("item", "interaction")
    return StageRequest(columns.RECOMMEND, settings, inputs, tables, content)


def users_digest(users: NDArray[np.int32] | None) -> str:
    """Return a digest of a set of users; 'all' for None."""
    return "all" if users is None else hashlib.sha256(np.sort(users).tobytes()).hexdigest()


def require_engine(settings: Settings) -> None:
    """Raise SettingsError if the engine in the settings is not installed, or a required compiler is missing."""
    if settings.recommend.engine == "ray":
        require_ray()
    if settings.recommend.compile:
        require_compiler(lists_device())


def write_lists(job: ListJob, progress: Progress) -> None:
    """Compute the shards of a job that have no Parquet part yet, and write their parts.

    The settings choose the engine: this process, or Ray workers.
    """
    missing = job.missing(progress.say)
    done = len(job.users) - sum(job.num_users(shard) for shard in missing)
    with progress.task(f"recommend {job.split}", len(job.users), "users", done) as bar:
        if job.settings.recommend.engine == "ray":
            with contextlib.closing(ray_shards(job, missing, ListWorker)) as written:
                for shard in written:
                    bar.advance(job.num_users(shard))
        else:
            worker = ListWorker(job, progress.say)
            for shard in missing:
                worker.write(shard)
                bar.advance(job.num_users(shard))


class ListWorker:
    """Computes shards of a job, one at a time. It loads the model when the first list has to be computed."""

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
            others = methods if job.blend is not None and job.blend.with_all else {}
        write_part(job.path(shard), tables, job.label(shard), served, others)

    @cached_property
    def _tuned(self) -> Tuned | None:
        job = self.job
        return None if job.tuned is None else job.tuned.load(job.settings, job.allowed, self._say)

    @cached_property
    def _recommender(self) -> Recommender:
        job = self.job
        return Recommender(
            None if self._tuned is None else self._tuned.searcher,
            job.fallback_ranking,
            job.vectors,
            None if job.blend is None else job.blend.blend,
            job.allowed,
            job.settings.recommend.top_k,
            compares=job.blend is not None and job.blend.with_all,
        )

    def _shard_users(self, users: NDArray[np.int32]) -> ShardUsers:
        job, settings = self.job, self.job.settings
        length = settings.split.history_length
        if self._tuned is None:
            prompts, visible = [], [job.histories.of(int(user))[-length:] for user in users]
        else:
            prompts = self._tuned.prompts(job.histories, users)
            visible = self._tuned.visible(job.histories, users, length)
        seen = job.histories.masked_items(users, is_masked=settings.recommend.seen == "masked")
        for_blend = None
        if job.blend is not None:
            items, lengths = job.histories.latest(users, length)
            for_blend = BlendUsers(items, lengths, job.blend.days[users], seen)
        return ShardUsers(users, prompts, visible, seen, for_blend)
