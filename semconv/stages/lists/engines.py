"""Who computes the shards of a recommend run: this process, or workers of Ray.

Every engine writes the same parts under the same names, so that a job which died under one goes on under another.
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
    """SettingsError where the engine that the settings name is not installed, or nothing compiles for it."""
    if settings.recommend.engine == "ray":
        require_ray()
    if settings.recommend.compile:
        require_compiler(lists_device())


def write_lists(job: ListJob, progress: Progress) -> None:
    """Write the parts of a job that are not there yet."""
    missing = job.missing(progress.say)
    done = len(job.users) - sum(job.num_users(place) for place in missing)
    with (
        progress.task(f"recommend {job.split}", len(job.users), "users", done) as bar,
        contextlib.closing(_computed(job, missing, progress.say)) as written,
    ):
        for place in written:
            bar.advance(job.num_users(place))


def _computed(job: ListJob, places: Sequence[int], say: Callable[[str], None]) -> Generator[int]:
    return ray_shards(job, places) if job.settings.recommend.engine == "ray" else local_shards(job, places, say)


def local_shards(job: ListJob, places: Sequence[int], say: Callable[[str], None]) -> Generator[int]:
    """Compute shards in this process; yields each as soon as its part is there."""
    worker = ListWorker(job, say)
    for place in places:
        worker.write(place)
        yield place
