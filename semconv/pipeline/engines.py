"""Who computes the shards of a recommend run: this process. Every engine writes the same parts, one after the other or side by side."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence

from semconv.pipeline.list_job import ListJob, ListWorker
from semconv.progress import Progress


def write_lists(job: ListJob, progress: Progress) -> None:
    """Write the parts of a job that are not there yet."""
    missing = job.missing(progress.say)
    done = len(job.users) - sum(job.num_users(place) for place in missing)
    with (
        progress.task(f"recommend {job.split}", len(job.users), "users", done) as bar,
        contextlib.closing(local_shards(job, missing)) as written,
    ):
        for place in written:
            bar.advance(job.num_users(place))


def local_shards(job: ListJob, places: Sequence[int]) -> Generator[int]:
    """Compute shards in this process; yields each as soon as its part is there."""
    worker = ListWorker(job)
    for place in places:
        worker.write(place)
        yield place
