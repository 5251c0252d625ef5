"""The engines that compute the shards of a recommend run: this process, or Ray workers.

Every engine writes the same files, so a killed job can be resumed with another engine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence

from semconv.backbone.machine import lists_device, require_compiler
from semconv.progress import Progress
from semconv.settings.tree import Settings
from semconv.stages.lists.job import ListJob, ListWorker
from semconv.stages.lists.ray_engine import ray_shards, require_ray


def require_engine(settings: Settings) -> None:
    """Raise SettingsError if the engine in the settings is not installed, or a required compiler is missing."""
    if settings.recommend.engine == "ray":
        require_ray()
    if settings.recommend.compile:
        require_compiler(lists_device())


def write_lists(job: ListJob, progress: Progress) -> None:
    """Compute the shards of a job that have no Parquet part yet, and write their parts."""
    missing = job.missing(progress.say)
    done = len(job.users) - sum(job.num_users(shard) for shard in missing)
    uses_ray = job.settings.recommend.engine == "ray"
    computed = ray_shards(job, missing) if uses_ray else local_shards(job, missing, progress.say)
    with (
        progress.task(f"recommend {job.split}", len(job.users), "users", done) as bar,
        contextlib.closing(computed) as written,
    ):
        for shard in written:
            bar.advance(job.num_users(shard))


def local_shards(job: ListJob, shards: Sequence[int], say: Callable[[str], None]) -> Generator[int]:
    """Compute shards in this process; yield each shard when its Parquet part is written."""
    worker = ListWorker(job, say)
    for shard in shards:
        worker.write(shard)
        yield shard
