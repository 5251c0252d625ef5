"""Update the weights once from several batches and processes, with the same result as from one large batch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from semconv.backbone.attention import require_attention, using_attention
from semconv.errors import CheckFailedError, SettingsError
from semconv.settings.tuning import TuningSettings
from semconv.tasks.registry import TASK_NAMES
from semconv.tuning.form import Batch, Form, Loss, Rows
from semconv.tuning.loss import LossCounts
from semconv.tuning.model import ITEM_MODULE, trainable
from semconv.tuning.processes import Processes, unsharded
from semconv.tuning.replicas import Replicas

_BETAS = (0.9, 0.999)
_BATCH_STRIDE = 7_919_000_033  # far above the number of steps, so that no two batches share their dropout


@dataclass(frozen=True)
class StepFigures:
    """The figures of one update of the weights."""

    loss: float  # mean cross entropy of the label tokens
    by_task: dict[str, float]  # mean cross entropy by task, for tasks with samples in the step
    gradient_norm: float  # norm before clipping
    samples: int
    tokens: int  # number of tokens, including padding


class Stepper:
    """A model with its loss and its optimizer, in every process of the training."""

    def __init__(
        self,
        model: Any,
        form: Form,
        settings: TuningSettings,
        processes: Processes | None = None,
    ) -> None:
        self.form = form
        self.settings = settings
        self.processes = processes or Processes()
        require_attention(settings.attention, self.processes.device.type)
        self.replicas = Replicas(model, form, settings, self.processes)
        self.optimizer = _optimizer(self.replicas.model, settings)

    @property
    def loss(self) -> Loss:
        """The loss module that this process trains."""
        loss: Loss = self.replicas.loss
        return loss

    def step(self, batches: Sequence[Rows], number: int, share: float) -> StepFigures:
        """Update the weights once from the rows of some batches. Every process computes its part of each batch.

        The docstring of ``update`` describes the arguments ``number`` and ``share``, and the errors.
        """
        return self.update([self._part(rows) for rows in batches], number, share)

    def _part(self, rows: Rows) -> tuple[Batch, float]:
        """Return this process's rows of a batch, and the weight of these rows.

        Every process must take part in every exchange. A process without own rows computes the batch's first row with
        weight 0.
        """
        own = rows[self.processes.rank :: self.processes.count]
        collate = self.form.collate
        return (collate(own), float(self.processes.count)) if len(own) else (collate(rows[:1]), 0.0)

    def update(self, parts: Sequence[tuple[Batch, float]], number: int, share: float) -> StepFigures:
        """Update the weights once from this process's part of each batch.

        Args:
            parts: this process's part of each batch, with a weight: the number of processes, or 0 to ignore the part.
            number: number of earlier steps; together with the seed of the settings, it determines the dropout.
            share: the learning rate as a share of the peak rate, which item parts and other weights have of their own.
        Raises:
            CheckFailedError: the loss or the gradient is not finite. The weights are then unchanged.
        """
        loss = self.loss
        counts = self._counts([batch for batch, weight in parts if weight])
        loss.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        sums = []
        for index, (batch, weight) in enumerate(parts):
            self._seed(number, index)
            with self.replicas.without_exchange(index == len(parts) - 1):
                sums.append(self._backward(batch, weight, counts))
        label, history, tokens, samples, *tasks = self.processes.sum(torch.stack(sums).sum(dim=0)).tolist()
        of_history = loss.history_weight * history / max(1, counts.history)
        _require_finite("loss", label / counts.label + of_history, number)
        weights = trainable(loss.model).values()
        norm = float(unsharded(torch.nn.utils.clip_grad_norm_(weights, self.settings.max_gradient_norm or math.inf)))
        _require_finite("norm of the gradient", norm, number)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        means = {name: total / of for name, total, of in zip(TASK_NAMES, tasks, counts.by_task, strict=True) if of}
        return StepFigures(label / counts.label, means, norm, int(samples), int(tokens))

    def _counts(self, batches: Sequence[Batch]) -> LossCounts:
        """Count the tokens in the loss of a step, over all batches and processes."""
        own = self.loss.counts(batches)
        if self.processes.count == 1:
            return own
        numbers = torch.tensor([own.label, own.history, *own.by_task], device=self.processes.device)
        label, history, *by_task = self.processes.sum(numbers).tolist()
        return LossCounts(label, history, tuple(by_task))

    def _seed(self, number: int, index: int) -> None:
        """Seed torch, so that dropout depends only on seed, step, batch and process."""
        index = index * self.processes.count + self.processes.rank
        torch.manual_seed(self.settings.seed * 1_000_003 + number + index * _BATCH_STRIDE)

    def _backward(self, batch: Batch, weight: float, counts: LossCounts) -> torch.Tensor:
        """Add the gradients of a batch. Return the loss sums and counts of tokens and samples, in one tensor."""
        device = self.processes.device
        batch = batch.to(device)
        half = self.settings.dtype == "bfloat16"
        with using_attention(self.loss.model, self.settings.attention):  # the backward pass recomputes layers
            with torch.autocast(device.type, torch.bfloat16) if half else contextlib.nullcontext():
                sums = self.replicas.module(batch)
            (weight * self.loss.weighted(sums, counts)).backward()  # type: ignore[no-untyped-call]
        sizes = sums.label.new_tensor([batch.num_tokens, batch.num_samples], dtype=torch.float64)
        of_loss = torch.stack([sums.label.detach(), sums.history.detach()]).double()
        found = torch.cat([of_loss, sizes, sums.by_task.double()])
        return found if weight else torch.zeros_like(found)


def _optimizer(model: Any, settings: TuningSettings) -> torch.optim.Optimizer:
    """Return the optimizer; ``peak`` of each of its groups is the peak learning rate of the weights in it."""
    groups: list[dict[str, Any]] = []
    weights, rate = trainable(model), peak_rate(settings)
    item_rate = rate if settings.item_learning_rate is None else settings.item_learning_rate
    for of_items, peak in ((False, rate), (True, item_rate)):
        some = [weight for name, weight in weights.items() if name.startswith(f"{ITEM_MODULE}.") == of_items]
        matrices = [weight for weight in some if weight.ndim > 1]
        vectors = [weight for weight in some if weight.ndim <= 1]  # norms are not decayed
        groups.append({"params": matrices, "weight_decay": settings.weight_decay, "peak": peak})
        groups.append({"params": vectors, "weight_decay": 0.0, "peak": peak})
    fused = True if all(weight.device.type == "cpu" for weight in weights.values()) else None  # one kernel, not ten
    return torch.optim.AdamW(groups, lr=rate, betas=_BETAS, fused=fused)


def _require_finite(what: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise CheckFailedError(
            f"the {what} is {value} at step {step}; lower tuning.learning_rate or tuning.max_gradient_norm and run the same command again"
        )


def peak_rate(settings: TuningSettings) -> float:
    """Return the peak learning rate. Raise an error if the settings do not contain one."""
    if settings.learning_rate is None:
        raise SettingsError("tuning.learning_rate is not set; set it to a number")
    return settings.learning_rate


def schedule(share_done: float, warmup: float) -> float:
    """Return the share of the peak learning rate. The share rises linearly at first, then follows a cosine to 0."""
    if share_done < warmup:
        return (share_done + 1e-3) / (warmup + 1e-3)
    rest = (share_done - warmup) / max(1e-9, 1.0 - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, rest)))
