"""Compute shards in parallel with workers of Ray Data, on this machine or on a running cluster.

The project folder must have the same path on all machines: workers load the model from it and write parts into it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from semconv import errors
from semconv.artifacts import machine_errors, remove_unfinished
from semconv.errors import MachineError, SemconvError, SettingsError
from semconv.modes import OWNER_FILE
from semconv.stages.lists.job import ListJob
from semconv.stages.lists.parts import holds_part
from semconv.stages.lists.ray_start import connected

_DEATHS_A_SHARD = 3  # The job gives up when this many workers died while computing one shard.


def require_ray() -> None:
    """Raise SettingsError if Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise SettingsError(
            "recommend.engine = ray needs Ray, which is not installed; run `pip install 'semconv[ray]'`, or set recommend.engine = local"
        )


class ShardWorker(Protocol):
    """Computes shards of a job, one at a time."""

    def write(self, shard: int) -> None:
        """Compute the lists of one shard and write them as its Parquet part."""


def ray_shards(job: ListJob, shards: Sequence[int], make_worker: Callable[[ListJob], ShardWorker]) -> Generator[int]:
    """Compute shards in Ray workers; yield each shard when its Parquet part is written, in any order.

    Args:
        make_worker: called in each Ray worker, to get the object that computes its shards.

    Raises:
        SettingsError: the machines have too few cores or GPUs for the workers.
        MachineError: Ray cannot be started, or several workers die while computing one shard.
        SemconvError: the error of a worker.
    """
    if not shards:
        return
    with connected(job.settings.recommend.ray_actors) as ray:
        try:
            yield from _computed(ray, job, shards, make_worker)
        finally:
            remove_unfinished(job.folder)  # files that workers left when they died


def _computed(
    ray: Any, job: ListJob, shards: Sequence[int], make_worker: Callable[[ListJob], ShardWorker]
) -> Iterator[int]:
    shared = ray.put(job)  # one copy on each machine, which all its workers read
    rows = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    workers, room = _workers(ray, job)
    rows = rows.map_batches(
        _ShardWriter,
        fn_constructor_args=(shared, make_worker),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(shards)), max_tasks_in_flight_per_actor=1),
        **room,
    )
    try:
        for batch in rows.iter_batches(batch_size=None, prefetch_batches=0):
            for shard, failure, message in zip(batch["shard"], batch["failure"], batch["message"], strict=True):
                if failure:
                    raise getattr(errors, failure)(message)
                yield int(shard)
    except ray.exceptions.RayTaskError:
        raise  # a bug in semconv
    except ray.exceptions.RayError as error:
        raise MachineError(
            f"{job.folder.name}: Ray stopped with an error ({str(error).strip().splitlines()[-1][:200]}); run the same command again"
        ) from error


class _ShardWriter:
    """A Ray worker that loads the model once, then writes the part of every shard that it gets."""

    def __init__(self, shared: Any, make_worker: Callable[[ListJob], ShardWorker]) -> None:
        import ray

        self._job: ListJob = ray.get(shared)
        self._worker = make_worker(self._job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        shard = int(batch["shard"][0])
        failure = message = ""
        try:
            # A worker that died may have written the part already.
            if not holds_part(self._job.path(shard), self._job.label(shard)):
                with counted(self._job.path(shard)):
                    self._worker.write(shard)
        except SemconvError as error:  # Ray would not keep the type of an exception.
            failure, message = type(error).__name__, str(error)
        return {"shard": [shard], "failure": [failure], "message": [message]}


@contextlib.contextmanager
def counted(part: Path) -> Iterator[None]:
    """Count the attempts to write a Parquet part in a file beside it; MachineError after too many failed attempts."""
    trace = part.with_name(f".{part.name}.begun.tmp")
    with machine_errors(trace):
        begun = trace.stat().st_size if trace.exists() else 0
        if begun >= _DEATHS_A_SHARD:
            raise MachineError(
                f"{part}: {begun} workers died while computing this shard, most likely for lack of memory; set a smaller"
                " recommend.batch_tokens, recommend.shard_users or recommend.ray_actors"
            )
        descriptor = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, OWNER_FILE)
        try:
            os.write(descriptor, b".")
        finally:
            os.close(descriptor)
    yield
    trace.unlink(missing_ok=True)


def _workers(ray: Any, job: ListJob) -> tuple[int, dict[str, float]]:
    """Return the number of workers, and the resources of each: one GPU, or without GPUs an even share of the cores."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = sum(int(machine.get("GPU", 0)) for machine in machines)
    wanted = job.settings.recommend.ray_actors or gpus or len(machines)
    if gpus:
        most, room = gpus, {"num_gpus": 1.0}
    else:
        cores = [int(machine.get("CPU", 0)) for machine in machines]
        share = max(1, min(cores) // math.ceil(wanted / len(machines)))
        most, room = sum(count // share for count in cores), {"num_cpus": float(share)}
    if wanted > most:
        of = f"{gpus} GPUs" if gpus else f"{sum(cores)} cores"
        raise SettingsError(
            f"recommend.ray_actors = {wanted}: the {len(machines)} machines have {of} in all; set a smaller number"
        )
    return wanted, room
