"""A model that several processes train together: each process holds a copy (ddp) or a shard (fsdp).

PyTorch's DDP or FSDP wraps the loss module instead of the model, because a training step computes hidden states and
rows of the output matrix without calling the model. A backward pass averages gradients over the processes. So every
process multiplies the loss of its part of a batch by the number of processes.
"""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from semconv.backbone.forward import decoder
from semconv.settings.tuning import TuningSettings
from semconv.tuning.form import Form
from semconv.tuning.model import trainable
from semconv.tuning.processes import Processes, unsharded
from semconv.tuning.validation_score import Validate, ValidationScore


class Replicas:
    """One model in all processes of a training.

    ``model`` is the trained model. ``complete`` is an unsharded model for validation and saving. Without shards,
    ``model`` and ``complete`` are the same object. With shards, ``complete`` is a copy in the first process's main
    memory, and ``gather`` updates it.
    """

    def __init__(self, model: Any, form: Form, settings: TuningSettings, processes: Processes) -> None:
        self.processes = processes
        self.complete = model
        self.is_sharded = processes.count > 1 and settings.parallel == "fsdp"
        if processes.count > 1:
            _copy_weights(model, processes)
        self.model = copy.deepcopy(model) if self.is_sharded and processes.is_first else model
        self.loss = form.loss(self.model, settings)
        self.module: nn.Module = self.loss
        if self.is_sharded:
            _shard(self.loss, self.model, settings.dtype == "bfloat16", processes)
        else:
            model.to(processes.device)
            if processes.count > 1:
                self.module = DistributedDataParallel(self.loss, broadcast_buffers=False)

    def without_exchange(self, is_last: bool) -> contextlib.AbstractContextManager[Any]:
        """Return a context that delays the exchange of gradients to the last batch of a step, where this is possible.

        Processes with copies (ddp) can delay the exchange. Processes with shards (fsdp) cannot, because gradients would
        stay unsharded until then.
        """
        if isinstance(self.module, DistributedDataParallel) and not is_last:
            return self.module.no_sync()
        return contextlib.nullcontext()

    @torch.no_grad()
    def gather(self) -> None:
        """Update the first process's complete model from the shards. Every process must call this function."""
        if not self.is_sharded:
            return
        target = trainable(self.complete) if self.processes.is_first else {}
        for name, shard in trainable(self.model).items():
            value = unsharded(shard.detach())
            if target:
                target[name].copy_(value)

    def score(self, validate: Validate) -> ValidationScore:
        """Validate the complete model in the first process, and return the score in every process."""
        self.gather()
        scored = ValidationScore(0.0)
        if self.processes.is_first:
            self.complete.eval().to(self.processes.device)
            scored = validate(self.complete)
            if self.is_sharded:
                self.complete.to("cpu")
        return self.processes.broadcast(scored)


@torch.no_grad()
def _copy_weights(model: Any, processes: Processes) -> None:
    """Copy the first process's weights to the other processes."""
    for weight in model.parameters():
        value = weight.to(processes.device)
        dist.broadcast(value, src=0)
        weight.copy_(value)


def _shard(loss: nn.Module, model: Any, is_half: bool, processes: Processes) -> None:
    """Shard each layer separately, so that one layer at a time is gathered; shard all other weights together."""
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    policy = half if is_half else MixedPrecisionPolicy()
    stack: Any = decoder(model)
    for layer in stack.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(loss, mesh=mesh, mp_policy=policy)
