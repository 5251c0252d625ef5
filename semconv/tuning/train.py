"""The training loop: epochs and steps, limits on samples and minutes, validation by search, and exact resume."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semconv.metrics import is_as_good
from semconv.progress import Progress, Task
from semconv.reports.training_chart import write_chart
from semconv.runs.files import BEST_WEIGHTS, TRAINING_CHART
from semconv.settings.tuning import TuningSettings
from semconv.tuning.checkpoint import load_best, load_state, save_best, save_state
from semconv.tuning.form import Form, Rows
from semconv.tuning.processes import Processes
from semconv.tuning.step import Stepper, peak_rate, schedule
from semconv.tuning.step_log import StepLog, read_steps
from semconv.tuning.validation_score import Validate


@dataclass(frozen=True)
class Training:
    """The inputs of a training, without its settings."""

    form: Form
    validate: Validate | None
    folder: Path
    progress: Progress
    clock: Callable[[], float] = time.monotonic  # in seconds
    processor_clock: Callable[[], float] = time.process_time  # in seconds, of all threads of this process


def tune(
    model: Any, training: Training, settings: TuningSettings, processes: Processes | None = None
) -> dict[str, Any]:
    """Train for the given epochs, samples or minutes. Start from the last checkpoint in the run folder, if any.

    After training, the model has the weights of the latest epoch whose validation score is at most 0.5 % below the best
    one, or the final weights without validation. Of two epochs with equal scores the later one has the lower learning rate.
    With several processes, only the first process's model has these weights.

    Returns:
        figures: epochs, steps, samples, seconds and processor seconds over all resumes, validations, best epoch, and
        whether the same settings give the same weights again (with a limit in minutes they do not). Processor seconds
        count the training in this process without validation, so other jobs on the machine do not change them.
    Raises:
        CheckFailedError: the loss or the gradient is not finite. The last checkpoint is kept.
    """
    processes = processes or Processes()
    with processes.naming_lost_process():
        loop = _Loop(model, training, settings, processes)
        with contextlib.closing(loop.log):
            while not loop.finished:
                loop.run_epoch()
        loop.stepper.replicas.gather()
    counters = loop.counters
    if processes.is_first:
        write_chart(training.folder / TRAINING_CHART, read_steps(training.folder), counters.validations)
        if (training.folder / BEST_WEIGHTS).exists():
            load_best(training.folder, model)
    return {
        "epochs": counters.epoch,
        "steps": counters.step,
        "samples": counters.samples,
        "seconds": round(counters.seconds, 3),
        "processor_seconds": round(counters.processor_seconds, 3),
        "best_epoch": counters.best_epoch,
        "best_ndcg": counters.kept_score,
        "validations": counters.validations,
        "is_reproducible": settings.max_minutes == 0,
    }


class _Loop:
    """A training in progress: its state, its log and its clocks."""

    def __init__(self, model: Any, training: Training, settings: TuningSettings, processes: Processes) -> None:
        self.training = training
        self.settings = settings
        assert settings.epochs is not None  # the stage fills the default in
        self.epochs = settings.epochs
        self.processes = processes
        self.stepper = Stepper(model, training.form, settings, processes)
        self.counters = load_state(training.folder, self.stepper.replicas.model, self.stepper.optimizer, processes)
        self.log = StepLog(training.folder if processes.is_first else None, self.counters.step)
        self.saved_at = self.counted_at = self._now()
        self.processor_at = training.processor_clock()
        if settings.max_minutes:
            training.progress.say(
                "tuning.max_minutes limits this run by the clock, so its weights are not reproducible"
            )

    @property
    def finished(self) -> bool:
        counters = self.counters
        if counters.batch:  # the current epoch must still be validated, even if a limit is reached
            return False
        return counters.stopped or counters.epoch >= self.epochs or self._share_of_budgets() >= 1.0

    def _share_of_budgets(self) -> float:
        """Return the used share of the limit on samples or on minutes, whichever share is larger; 0 without limits."""
        settings, counters = self.settings, self.counters
        of_samples = counters.samples / settings.max_samples if settings.max_samples else 0.0
        of_minutes = counters.seconds / (60.0 * settings.max_minutes) if settings.max_minutes else 0.0
        return max(of_samples, of_minutes)

    def _now(self) -> float:
        """Return the first process's clock time in seconds, so that all processes make the same decisions."""
        return self.processes.broadcast_number(self.training.clock())

    def _count_time(self) -> float:
        """Add the time since the last call to ``counters.seconds``, and return it in seconds."""
        now = self._now()
        passed, self.counted_at = now - self.counted_at, now
        self.counters.seconds += passed
        return passed

    def _count_processor(self) -> None:
        """Add this process's processor time since the last call to ``counters.processor_seconds``."""
        now = self.training.processor_clock()
        self.counters.processor_seconds += now - self.processor_at
        self.processor_at = now

    def run_epoch(self) -> None:
        """Train the remaining batches of the current epoch, then validate and save the state."""
        counters, settings = self.counters, self.settings
        form = self.training.form
        rows = form.rows(counters.epoch)
        batches = form.batches(rows, settings, counters.epoch)
        samples = int(rows.num_samples.sum())
        done = int(sum(rows.num_samples[batch].sum() for batch in batches[: counters.batch]))
        label = f"epoch {counters.epoch + 1}/{self.epochs}"
        with self.training.progress.task(label, samples, "samples", done) as bar:
            self._count_time()  # so that the first step does not include the building of the rows
            while counters.batch < len(batches) and (counters.step == 0 or self._share_of_budgets() < 1.0):
                ahead = batches[counters.batch : counters.batch + settings.accumulate]
                share_done = (counters.epoch + counters.batch / len(batches)) / self.epochs
                self._step([rows[batch] for batch in ahead], share_done, bar)
                if self.counted_at - self.saved_at >= settings.checkpoint_seconds:
                    self._save()
        self._close_epoch()
        self._save()
        if self.processes.is_first:
            write_chart(self.training.folder / TRAINING_CHART, read_steps(self.training.folder), counters.validations)

    def _save(self) -> None:
        self.log.flush()  # before saving the state: the log may have more steps than the state, never fewer
        self._count_time()
        self._count_processor()
        save_state(
            self.training.folder, self.stepper.replicas.model, self.stepper.optimizer, self.counters, self.processes
        )
        self.saved_at = self._now()

    def _step(self, batches: Sequence[Rows], share_done: float, bar: Task) -> None:
        counters = self.counters
        share_done = max(share_done, self._share_of_budgets())
        share = schedule(share_done, self.settings.warmup)
        figures = self.stepper.step(batches, counters.step, share)
        counters.batch += len(batches)
        counters.step += 1
        counters.samples += figures.samples
        rate = peak_rate(self.settings) * share
        self.log.write(counters.step, counters.epoch, rate, figures, self._count_time())
        bar.advance(figures.samples, f"loss {figures.loss:.3f}")

    def _close_epoch(self) -> None:
        counters, settings = self.counters, self.settings
        epoch = counters.epoch
        counters.epoch += 1
        counters.batch = 0
        last = self.finished
        if self.training.validate is None or ((epoch + 1) % settings.validate_every and not last):
            return
        self._count_processor()
        scored = self.stepper.replicas.score(self.training.validate)
        self.processor_at = self.training.processor_clock()  # processor time does not include the validation
        counters.validations.append({"epoch": epoch + 1, "step": counters.step, **scored.figures()})
        self.training.progress.say(f"epoch {epoch + 1}: validation {scored}")
        score = scored.ndcg
        if score > counters.best_score:
            counters.best_score, counters.rounds_without_better = score, 0
        else:
            counters.rounds_without_better += 1
            counters.stopped = counters.rounds_without_better >= settings.patience
        if is_as_good(score, counters.best_score):
            counters.best_epoch = epoch + 1
            if self.processes.is_first:
                save_best(self.training.folder, self.stepper.replicas.complete)
