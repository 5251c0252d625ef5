"""Computes shards in parallel by workers of Ray Data, on this machine or on a running cluster.

All machines must see the project folder under the same path: a worker loads the model and writes its parts there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from semconv import errors
from semconv.artifacts import machine_errors, remove_unfinished
from semconv.errors import MachineError, SemconvError, SettingsError
from semconv.stages.lists.job import ListJob, ListWorker
from semconv.stages.lists.parts import holds_part
from semconv.stages.lists.ray_start import connected

_DEATHS_A_SHARD = 3  # workers that may die over one shard before the job gives up


def require_ray() -> None:
    """SettingsError when Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise SettingsError(
            "recommend.engine = ray needs Ray, which is not installed; `pip install 'semconv[ray]'`, or use the engine local"
        )


def ray_shards(job: ListJob, shards: Sequence[int]) -> Generator[int]:
    """Compute shards in workers; yields each shard when its part is written, in any order.

    Raises:
        SettingsError: the machines have too few cores or GPUs for the workers.
        MachineError: Ray cannot be started, or workers die repeatedly over one shard.
        SemconvError: the error of a worker.
    """
    if not shards:
        return
    with connected(job.settings.recommend.ray_actors) as ray:
        try:
            yield from _computed(ray, job, shards)
        finally:
            remove_unfinished(job.folder)  # left by workers that died


def _computed(ray: Any, job: ListJob, shards: Sequence[int]) -> Iterator[int]:
    shared = ray.put(job)  # one copy a machine, which all of its workers read
    rows = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
    workers, room = _workers(ray, job)
    rows = rows.map_batches(
        _ShardWriter,
        fn_constructor_args=(shared,),
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
        raise  # a bug in this code
    except ray.exceptions.RayError as error:
        raise MachineError(
            f"{job.folder.name}: Ray gave up ({str(error).strip().splitlines()[-1][:200]}); run the same command again"
        ) from error


class _ShardWriter:
    """A worker: loads the model once, then writes the part of every shard that it gets."""

    def __init__(self, shared: Any) -> None:
        import ray

        self._worker = ListWorker(ray.get(shared))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        shard = int(batch["shard"][0])
        failure = message = ""
        job = self._worker.job
        try:
            if not holds_part(job.path(shard), job.label(shard)):  # written by a worker that died before it reported it
                with counted(job.path(shard)):
                    self._worker.write(shard)
        except SemconvError as error:  # an exception would lose its type on the way
            failure, message = type(error).__name__, str(error)
        return {"shard": [shard], "failure": [failure], "message": [message]}


@contextlib.contextmanager
def counted(part: Path) -> Iterator[None]:
    """Count the attempts at a part in a file beside it, so that a shard that kills its workers is given up."""
    trace = part.with_name(f".{part.name}.begun.tmp")
    with machine_errors(trace):
        begun = trace.stat().st_size if trace.exists() else 0
        if begun >= _DEATHS_A_SHARD:
            raise MachineError(
                f"{part}: {begun} workers died over this shard, most likely for lack of memory; try a smaller"
                " recommend.batch_tokens or recommend.shard_users, or fewer recommend.ray_actors a machine"
            )
        with trace.open("ab") as stream:
            stream.write(b".")
    yield
    trace.unlink(missing_ok=True)


def _workers(ray: Any, job: ListJob) -> tuple[int, dict[str, float]]:
    """The number of workers and the resources of each: one GPU where there are any, else an even share of the cores."""
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
            f"recommend.ray_actors = {wanted}: the {len(machines)} machines have {of} in all; ask for fewer"
        )
    return wanted, room
