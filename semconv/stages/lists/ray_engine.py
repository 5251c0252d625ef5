"""Shards side by side in workers of Ray Data, on this machine or on those of a running cluster.

All machines see the project folder under the same path: a worker loads the model from there and writes its parts there.
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

_DEATHS_A_SHARD = 3  # workers that may die over one shard before it counts as too much for them


def require_ray() -> None:
    """Refuse early where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise SettingsError(
            "recommend.engine = ray needs Ray, which is not installed; `pip install 'semconv[ray]'`, or use the engine local"
        )


def ray_shards(job: ListJob, places: Sequence[int]) -> Generator[int]:
    """Compute shards in workers; yields each when its part is there, in any order.

    Raises:
        SettingsError: more workers than the machines have room for.
        MachineError: Ray cannot be started, or workers die over the same shard again and again.
        SemconvError: what a worker met.
    """
    if not places:
        return
    with connected(job.settings.recommend.ray_actors) as ray:
        try:
            yield from _computed(ray, job, places)
        finally:
            remove_unfinished(job.folder)  # of workers that died


def _computed(ray: Any, job: ListJob, places: Sequence[int]) -> Iterator[int]:
    shared = ray.put(job)  # once a machine, and the arrays are not copied again
    shards = ray.data.from_items([{"place": place} for place in places], override_num_blocks=len(places))
    workers, room = _workers(ray, job)
    rows = shards.map_batches(
        _ShardWriter,
        fn_constructor_args=(shared,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(places)), max_tasks_in_flight_per_actor=1),
        **room,
    )
    try:
        for batch in rows.iter_batches(batch_size=None, prefetch_batches=0):
            for place, failure, message in zip(batch["place"], batch["failure"], batch["message"], strict=True):
                if failure:
                    raise getattr(errors, failure)(message)
                yield int(place)
    except ray.exceptions.RayTaskError:
        raise  # a fault of ours
    except ray.exceptions.RayError as error:
        raise MachineError(
            f"{job.folder.name}: Ray gave up ({str(error).strip().splitlines()[-1][:200]}); run the same command again"
        ) from error


class _ShardWriter:
    """A worker: loads the model once, then writes a part for every shard that it is given."""

    def __init__(self, shared: Any) -> None:
        import ray

        self._worker = ListWorker(ray.get(shared))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        place = int(batch["place"][0])
        failure = message = ""
        job = self._worker.job
        try:
            if not holds_part(job.path(place), job.label(place)):  # of a worker that died before it could say so
                with counted(job.path(place)):
                    self._worker.write(place)
        except SemconvError as error:  # crosses to the other process as what it is
            failure, message = type(error).__name__, str(error)
        return {"place": [place], "failure": [failure], "message": [message]}


@contextlib.contextmanager
def counted(part: Path) -> Iterator[None]:
    """Leave a trace while the part of a shard is computed, so that one which kills its workers does not do so forever."""
    trace = part.with_name(f".{part.name}.begun.tmp")
    with machine_errors(trace):
        begun = trace.stat().st_size if trace.exists() else 0
        if begun >= _DEATHS_A_SHARD:
            raise MachineError(
                f"{part}: {begun} workers died over this shard, most likely for memory; a smaller"
                " recommend.batch_tokens or recommend.shard_users, or fewer recommend.ray_actors a machine helps"
            )
        with trace.open("ab") as stream:
            stream.write(b".")
    yield
    trace.unlink(missing_ok=True)


def _workers(ray: Any, job: ListJob) -> tuple[int, dict[str, float]]:
    """How many workers, and what of a machine each takes: a GPU where there are any, else an even share of the cores."""
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
