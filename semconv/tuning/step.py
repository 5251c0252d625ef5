"""One update of the weights: the batches of a step, over all processes, as if they were one batch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from semconv.backbone.forward import model_device
from semconv.config import TuningSettings
from semconv.errors import CheckFailedError, SettingsError
from semconv.tasks.padded import EpochRows
from semconv.tasks.trees import TASKS
from semconv.tuning.batches import Batch, collate
from semconv.tuning.choices import CodeChoices
from semconv.tuning.loss import LossCounts, SummedLoss
from semconv.tuning.model import trainable

_BETAS = (0.9, 0.999)
_ANOTHER_PLACE = 7_919_000_033  # apart from the step's, so that no two batches of a step share their dropout


@dataclass(frozen=True)
class StepFigures:
    """What an update was."""

    loss: float  # mean cross entropy of the label tokens
    by_task: dict[str, float]  # the same of each task that was in the step
    gradient_norm: float  # before clipping
    samples: int
    tokens: int  # padding included


class Stepper:
    """A model with its loss and its optimizer."""

    def __init__(self, model: Any, pad: int, choices: CodeChoices | None, settings: TuningSettings) -> None:
        self.model = model
        self.pad = pad
        self.settings = settings
        self.device = model_device(model)
        self.loss = SummedLoss(model, choices, settings.history_loss or 0.0)
        self.optimizer = _optimizer(model, settings)

    def step(self, batches: Sequence[EpochRows], number: int, rate: float) -> StepFigures:
        """``update`` with the rows of each batch side by side."""
        return self.update([collate(rows, self.pad) for rows in batches], number, rate)

    def update(self, batches: Sequence[Batch], number: int, rate: float) -> StepFigures:
        """Update the weights once.

        Args:
            number: steps done before; with the settings' seed it determines the dropout.
            rate: learning rate.
        Raises:
            CheckFailedError: the loss or the gradient is not finite; the weights are those before the step.
        """
        counts = self.loss.counts(batches)
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sums = [self._backward(batch, counts, number, place) for place, batch in enumerate(batches)]
        label, history, tokens, *tasks = torch.stack(sums).sum(dim=0).tolist()
        of_history = self.loss.history_weight * history / max(1, counts.history)
        _require_finite("loss", label / counts.label + of_history, number)
        norm = float(torch.nn.utils.clip_grad_norm_(trainable(self.model).values(), self.settings.clip or math.inf))
        _require_finite("norm of the gradient", norm, number)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        means = {name: total / of for name, total, of in zip(TASKS, tasks, counts.by_task, strict=True) if of}
        return StepFigures(label / counts.label, means, norm, sum(batch.num_samples for batch in batches), int(tokens))

    def _backward(self, batch: Batch, counts: LossCounts, number: int, place: int) -> torch.Tensor:
        """Add a batch's share to the gradients; its sums and its tokens as float64 ``(3 + len(TASKS),)``."""
        batch = batch.to(self.device)
        # Dropout is a function of seed, step and place.
        torch.manual_seed(self.settings.seed * 1_000_003 + number + place * _ANOTHER_PLACE)
        half = self.settings.dtype == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext():
            sums = self.loss(batch)
        self.loss.weighted(sums, counts).backward()  # type: ignore[no-untyped-call]
        size = sums.label.new_tensor(float(batch.input_ids.numel()))
        found = torch.stack([sums.label.detach(), sums.history.detach(), size, *sums.by_task])
        return found.double()


def _optimizer(model: Any, settings: TuningSettings) -> torch.optim.Optimizer:
    weights = list(trainable(model).values())
    matrices = [weight for weight in weights if weight.ndim > 1]
    vectors = [weight for weight in weights if weight.ndim <= 1]  # norms are not decayed
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    fused = True if all(weight.device.type == "cpu" for weight in weights) else None  # one pass instead of ten
    return torch.optim.AdamW(groups, lr=peak_rate(settings), betas=_BETAS, fused=fused)


def _require_finite(what: str, value: float, step: int) -> None:
    if not math.isfinite(value):
        raise CheckFailedError(
            f"the {what} is {value} at step {step}; lower tuning.learning_rate or tuning.clip and run the same command again"
        )


def peak_rate(settings: TuningSettings) -> float:
    """The peak learning rate; who hands settings in has resolved it for the kind of backbone."""
    if settings.learning_rate is None:
        raise SettingsError("tuning.learning_rate is not set")
    return settings.learning_rate


def schedule(share_done: float, warmup: float) -> float:
    """Share of the peak learning rate: a line up to 1 over ``warmup``, then half a cosine down to 0."""
    if share_done < warmup:
        return (share_done + 1e-3) / (warmup + 1e-3)
    rest = (share_done - warmup) / max(1e-9, 1.0 - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, rest)))
