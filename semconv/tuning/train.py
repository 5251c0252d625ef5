"""The training loop: AdamW, cosine with warm-up, validation by search, exact resume."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from semconv.artifacts import write_bytes
from semconv.backbone.forward import model_device
from semconv.config import TuningSettings
from semconv.errors import CheckFailedError, SettingsError
from semconv.progress import Progress, Task
from semconv.tasks.rows import Row
from semconv.tuning.batches import batch_order, collate
from semconv.tuning.checkpoint import BEST, load_best, load_state, save_best, save_state
from semconv.tuning.choices import CodeChoices
from semconv.tuning.loss import batch_loss
from semconv.tuning.model import trainable

STEPS = "steps.jsonl"
_BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class Training:
    """What a training is told besides its settings."""

    rows: Callable[[int], Sequence[Row]]  # the rows of an epoch
    validate: Callable[[Any], float] | None  # NDCG@10 of a sampled search
    pad: int
    folder: Path
    progress: Progress
    choices: CodeChoices | None = None  # what a code competes with in the loss, None for the whole vocabulary


def tune(model: Any, training: Training, settings: TuningSettings) -> dict[str, Any]:
    """Train to the end of the budget, from wherever the run folder says it stopped.

    The model ends with the weights of the best validation, or the last ones without validation.

    Returns:
        figures: epochs, steps, samples, seconds of this process, validations, best epoch.
    Raises:
        CheckFailedError: loss or gradient are no longer finite.
    """
    loop = _Loop(model, training, settings)
    started = time.monotonic()
    with contextlib.closing(loop.open_log()) as log:
        while not loop.finished:
            loop.run_epoch(log)
    if (training.folder / BEST).exists():
        load_best(training.folder, model)
    counters = loop.counters
    return {
        "epochs": counters.epoch,
        "steps": counters.step,
        "samples": counters.samples,
        "seconds": round(time.monotonic() - started, 3),
        "best_epoch": counters.best_epoch,
        "best_ndcg": counters.best_score if counters.best_epoch >= 0 else None,
        "validations": counters.validations,
        "is_reproducible": True,
    }


class _Loop:
    def __init__(self, model: Any, training: Training, settings: TuningSettings) -> None:
        self.model = model
        self.training = training
        self.settings = settings
        self.device = model_device(model)
        weights = trainable(model)
        matrices = [weight for weight in weights.values() if weight.ndim > 1]
        vectors = [weight for weight in weights.values() if weight.ndim <= 1]  # norms are not decayed
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=peak_rate(settings), betas=_BETAS)
        self.counters = load_state(training.folder, model, self.optimizer)
        self.saved_at = time.monotonic()

    @property
    def finished(self) -> bool:
        counters = self.counters
        if counters.batch:  # the epoch at hand is not closed and not validated yet, even if the samples are spent
            return False
        return counters.stopped or counters.epoch >= self.settings.epochs or self._samples_spent()

    def _samples_spent(self) -> bool:
        return 0 < self.settings.max_samples <= self.counters.samples

    def open_log(self) -> TextIO:
        """The step log, without the lines of steps that will be done again."""
        path = self.training.folder / STEPS
        lines = path.read_bytes().split(b"\n")[: self.counters.step] if path.exists() else []
        write_bytes(path, b"".join(line + b"\n" for line in lines))
        return path.open("a")

    def run_epoch(self, log: TextIO) -> None:
        """Train what is left of the epoch, then validate."""
        counters, settings = self.counters, self.settings
        rows = self.training.rows(counters.epoch)
        batches = batch_order([len(row) for row in rows], settings.batch_tokens, settings.seed, counters.epoch)
        samples = sum(row.num_samples for row in rows)
        done = sum(rows[row].num_samples for batch in batches[: counters.batch] for row in batch)
        self.model.train()
        label = f"epoch {counters.epoch + 1}/{settings.epochs}"
        with self.training.progress.task(label, samples, "samples", done) as bar:
            for members in batches[counters.batch :]:
                if self._samples_spent():
                    break
                share_done = (counters.epoch + counters.batch / len(batches)) / settings.epochs
                self._step([rows[row] for row in members], share_done, log, bar)
                if time.monotonic() - self.saved_at >= settings.checkpoint_seconds:
                    self._save(log)
        self._close_epoch()
        self._save(log)

    def _save(self, log: TextIO) -> None:
        log.flush()  # first: the log may know more steps than the state, never fewer
        save_state(self.training.folder, self.model, self.optimizer, self.counters)
        self.saved_at = time.monotonic()

    def _step(self, rows: list[Row], share_done: float, log: TextIO, bar: Task) -> None:
        settings, counters = self.settings, self.counters
        batch = collate(rows, self.training.pad).to(self.device)
        if settings.max_samples:
            share_done = max(share_done, counters.samples / settings.max_samples)
        rate = peak_rate(settings) * schedule(share_done, settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(settings.seed * 1_000_003 + counters.step)  # dropout is a function of (seed, step)
        half = settings.dtype == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext():
            loss, value = batch_loss(self.model, batch, settings.history_loss or 0.0, self.training.choices)
        _require_finite("loss", float(loss.detach()), counters.step)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(trainable(self.model).values(), settings.clip or math.inf)
        _require_finite("norm of the gradient", float(norm), counters.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        counters.batch += 1
        counters.step += 1
        counters.samples += batch.num_samples
        line = {
            "step": counters.step,
            "epoch": counters.epoch,
            "loss": round(value, 5),
            "learning_rate": rate,
            "gradient_norm": round(float(norm), 4),
            "samples": batch.num_samples,
            "tokens": batch.input_ids.numel(),
        }
        log.write(json.dumps(line) + "\n")
        bar.advance(batch.num_samples, f"loss {value:.3f}")

    def _close_epoch(self) -> None:
        counters, settings = self.counters, self.settings
        epoch = counters.epoch
        counters.epoch += 1
        counters.batch = 0
        last = self.finished
        if self.training.validate is None or ((epoch + 1) % settings.validate_every and not last):
            return
        self.model.eval()
        score = self.training.validate(self.model)
        counters.validations.append({"epoch": epoch + 1, "step": counters.step, "ndcg@10": score})
        self.training.progress.say(f"epoch {epoch + 1}: validation NDCG@10 {score:.4f}")
        if score > counters.best_score:
            counters.best_score, counters.best_epoch, counters.rounds_without_better = score, epoch + 1, 0
            save_best(self.training.folder, self.model)
        else:
            counters.rounds_without_better += 1
            counters.stopped = counters.rounds_without_better >= settings.patience


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
