"""The processes that train one model together, started by torchrun; one process alone is the case of one.

The first owns the project: the warehouse, the run folder, its lock, validation and the screen. The others are told
everything by it and write nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from semconv.errors import MachineError
from semconv.tuning.launch import process_count

Value = TypeVar("Value")
_PATIENCE = timedelta(
    days=2
)  # the others wait through a validation; a process that died is noticed by torchrun at once
_SIGNS_OF_LOSS = ("gloo", "NCCL", "Connection", "ProcessGroup")


def _cpu() -> torch.device:
    return torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """This process among those of the launch."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=_cpu)

    @property
    def is_first(self) -> bool:
        """Whether this one owns the project."""
        return self.rank == 0

    def share(self, value: Value) -> Value:
        """What the first process has; the others' own value is of no matter."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def share_number(self, value: float) -> float:
        """The first process's number."""
        if self.count == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(number, src=0)
        return float(number)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def spread(self, whole: Tensor | None, like: Tensor) -> Tensor:
        """The first process's tensor, whole or this process's shard of it, as ``like`` is held; the others give None."""
        if self.count == 1 and whole is not None:
            return whole.to(like)
        full = torch.empty(like.shape, dtype=like.dtype, device=self.device)
        if whole is not None:
            full.copy_(whole)
        dist.broadcast(full, src=0)
        if isinstance(like, DTensor):
            return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)
        return full

    def leave(self) -> None:
        """End the exchange; every process must come here."""
        if self.count > 1:
            dist.barrier()
            dist.destroy_process_group()

    @contextlib.contextmanager
    def noticing_loss(self) -> Iterator[None]:
        """Say in one line that another process is gone, instead of what its absence breaks here."""
        try:
            yield
        except RuntimeError as error:
            if self.count == 1 or not any(sign in str(error) for sign in _SIGNS_OF_LOSS):
                raise
            raise MachineError(
                "another process of this training ended, its own error stands above or below; run the same command again to go on"
            ) from error


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be held in shards; every process must ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def connect() -> Processes:
    """Join the processes of the launch; the device is this process's GPU where there is one."""
    if process_count() == 1:
        return Processes(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=_PATIENCE)
    device = state.device if state.device.type != "cpu" else torch.device("cpu")
    return Processes(state.process_index, state.num_processes, device)
