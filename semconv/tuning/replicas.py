"""A model as several processes hold it: a copy each (ddp), or a shard each (fsdp).

The loss module is what is wrapped, since a step computes hidden states and rows of the output matrix instead of
calling the model itself. Gradients after a backward pass are means over the processes, so every process weights
its share of a batch with their number.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from semconv.backbone.forward import decoder
from semconv.settings.tuning import TuningSettings
from semconv.tuning.choices import CodeChoices
from semconv.tuning.loss import SummedLoss
from semconv.tuning.model import trainable
from semconv.tuning.processes import Processes, whole


class Replicas:
    """What the processes of a training hold of one model.

    ``model`` is trained. ``complete`` is the model that was given: the same one, or with shards a copy in the first
    process's main memory, which ``gather`` brings up to date for validation and saving.
    """

    def __init__(self, model: Any, choices: CodeChoices | None, settings: TuningSettings, processes: Processes) -> None:
        self.processes = processes
        self.complete = model
        self.is_sharded = processes.count > 1 and settings.parallel == "fsdp"
        if processes.count > 1:
            _agree(model, processes)
        self.model = copy.deepcopy(model) if self.is_sharded and processes.is_first else model
        self.loss = SummedLoss(self.model, choices, settings.history_loss or 0.0)
        self.module: nn.Module = self.loss
        if self.is_sharded:
            _shard(self.loss, self.model, settings.dtype == "bfloat16", processes)
        else:
            model.to(processes.device)
            if processes.count > 1:
                self.module = DistributedDataParallel(self.loss, broadcast_buffers=False)

    def without_exchange(self, is_last: bool) -> contextlib.AbstractContextManager[Any]:
        """Copies exchange gradients after the last batch of a step alone; shards after each, or they would be whole."""
        if isinstance(self.module, DistributedDataParallel) and not is_last:
            return self.module.no_sync()
        return contextlib.nullcontext()

    @torch.no_grad()
    def gather(self) -> None:
        """Bring the first process's complete model up to date; every process must ask at the same time."""
        if not self.is_sharded:
            return
        kept = trainable(self.complete) if self.processes.is_first else {}
        for name, shard in trainable(self.model).items():
            value = whole(shard.detach())
            if kept:
                kept[name].copy_(value)

    def judged(self, judge: Callable[[Any], float]) -> float:
        """What the first process makes of the complete model, told to all."""
        self.gather()
        score = 0.0
        if self.processes.is_first:
            self.complete.eval().to(self.processes.device)
            score = judge(self.complete)
            if self.is_sharded:
                self.complete.to("cpu")
        return self.processes.share_number(score)


@torch.no_grad()
def _agree(model: Any, processes: Processes) -> None:
    """Give every process the first one's weights."""
    for weight in model.parameters():
        value = weight.to(processes.device)
        dist.broadcast(value, src=0)
        weight.copy_(value)


def _shard(loss: SummedLoss, model: Any, is_half: bool, processes: Processes) -> None:
    """Shard layer by layer, so that one layer's weights at a time are whole; the rest belongs to the loss module."""
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    policy = half if is_half else MixedPrecisionPolicy()
    stack: Any = decoder(model)
    for layer in stack.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(loss, mesh=mesh, mp_policy=policy)
