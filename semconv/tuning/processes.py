"""The processes that train one model together, started by torchrun, or one process alone.

Only the first process reads the warehouse, locks and writes the run folder, validates and prints progress. The
first process sends the other processes everything that they need. The other processes write nothing.
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
_TIMEOUT = timedelta(days=2)  # other processes wait while the first validates; torchrun notices dead processes
_LOST_PROCESS_WORDS = ("gloo", "NCCL", "Connection", "ProcessGroup")  # words in the errors of a failed exchange


def _cpu() -> torch.device:
    return torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """The rank and the device of this process, and the number of processes that torchrun started."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=_cpu)

    @property
    def is_first(self) -> bool:
        """Whether this is the first process, which alone reads and writes the project."""
        return self.rank == 0

    def broadcast(self, value: Value) -> Value:
        """Return the first process's value in every process. Values of other processes are ignored."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def broadcast_number(self, value: float) -> float:
        """Return the first process's number in every process."""
        if self.count == 1:
            return value
        number = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(number, src=0)
        return float(number)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def distribute(self, tensor: Tensor | None, like: Tensor) -> Tensor:
        """Return the first process's tensor, sharded like ``like``. Other processes pass None as the tensor."""
        if self.count == 1 and tensor is not None:
            return tensor.to(like)
        full = torch.empty(like.shape, dtype=like.dtype, device=self.device)
        if tensor is not None:
            full.copy_(tensor)
        dist.broadcast(full, src=0)
        if isinstance(like, DTensor):
            return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)
        return full

    def disconnect(self) -> None:
        """Close the connection between the processes. Every process must call this function."""
        if self.count > 1:
            dist.barrier()
            dist.destroy_process_group()

    @contextlib.contextmanager
    def naming_lost_process(self) -> Iterator[None]:
        """If another process ended, replace the resulting error by a one-line error that names this cause.

        Raises:
            MachineError: another process ended.
        """
        try:
            yield
        except RuntimeError as error:
            if self.count == 1 or not any(word in str(error) for word in _LOST_PROCESS_WORDS):
                raise
            raise MachineError(
                "another process of this training ended (its own error is above or below this line); run the same command again to continue"
            ) from error


def unsharded(tensor: Tensor) -> Tensor:
    """Return the complete tensor if ``tensor`` is sharded, else ``tensor``. Every process must call this function."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def connect() -> Processes:
    """Connect to the other processes that torchrun started. The device is this process's GPU, if there is one."""
    if process_count() == 1:
        return Processes(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=_TIMEOUT)
    device = state.device if state.device.type != "cpu" else torch.device("cpu")
    return Processes(state.process_index, state.num_processes, device)
