"""Train DCCF on random triples of the train cut, and measure recall@20 on validation users.

Every random draw depends only on the seed and the step. So the weights, Adam's moments and a few counters are the
whole state of a training. A killed training resumes exactly (bit for bit on a CPU).
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from semconv.behavior.dccf import Dccf, Pair, Triples
from semconv.behavior.graph import InteractionGraph
from semconv.behavior.vectors import BehaviorVectors, normalize
from semconv.columns import LEARNED
from semconv.data.store import Sequences
from semconv.errors import CheckFailedError, InputError
from semconv.progress import Progress, Task
from semconv.ragged import find, ranges, row_of
from semconv.runs.files import DCCF_STATE
from semconv.settings.behavior import BehaviorSettings, DccfSettings
from semconv.training_state import adam_tensors, damage_named, read_state, restore_adam, write_state

_CUTOFF = 20
_CHUNK_CELLS = 1 << 22  # number of validation scores in memory at once


@dataclass(frozen=True)
class DccfTraining:
    """The inputs of a DCCF training, without its settings."""

    folder: Path
    progress: Progress
    targets: NDArray[np.int32] | None = None  # (U,) held-out item_index of each user, -1 for none; None: no validation


@dataclass
class Counters:
    """The progress of a DCCF training, saved with its state."""

    epoch: int = 0
    batch: int = 0  # finished batches of this epoch
    best_recall: float = -1.0
    best_epoch: int = -1
    rounds_without_better: int = 0
    stopped: bool = False
    epochs: list[dict[str, float]] = field(default_factory=list)
    loss_sum: float = 0.0  # over the batches of this epoch


def fit_dccf(
    sequences: Sequences, num_items: int, settings: BehaviorSettings, dccf: DccfSettings, training: DccfTraining
) -> tuple[BehaviorVectors, dict[str, Any]]:
    """Train vectors of all items and users of ``sequences``, or resume from the state in ``training.folder``.

    The result is the vectors with the best validation recall, or the last vectors if there is no validation.

    Args:
        sequences: the train part alone (``semconv.data.core.train_part``).
        num_items: size of the catalogue.

    Returns:
        the vectors, and figures: loss and recall@20 of each epoch, the best epoch, and the seconds that this process
        took.

    Raises:
        InputError: there is no interaction, every user has every item, or the saved state is damaged.
        CheckFailedError: the loss is NaN or infinite.
    """
    started = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    graph = InteractionGraph.build(sequences, num_items).to(device)
    loop = _TrainingLoop(graph, settings, dccf, training)
    while not loop.finished:
        loop.run_epoch()
    final = loop.final
    vectors = normalize(
        graph.item_index,
        final.items.double().cpu().numpy(),
        graph.user_index,
        final.users.double().cpu().numpy(),
        LEARNED,
    )
    counters = loop.counters
    figures = {
        "epochs": counters.epochs,
        "best_epoch": counters.best_epoch if counters.best_epoch > 0 else counters.epoch,
        "best_recall@20": counters.best_recall if counters.best_epoch > 0 else None,
        "seconds": round(time.monotonic() - started, 3),
    }
    return vectors, figures


class TripleSampler:
    """Draws random triples: a user, an item of the user, and an item that the user has no interaction with.

    If interactions have weights, an item of the user is drawn in proportion to its weight.
    """

    def __init__(self, graph: InteractionGraph, seed: int) -> None:
        """Raise InputError when every user has every item, because then there is no negative item."""
        self._seed = seed
        self._starts = graph.user_starts.cpu().numpy().astype(np.int64)
        self._items = graph.item_of_edge.cpu().numpy().astype(np.int64)
        self._num_items = graph.shape[1]
        self._cumulative = None if graph.weights is None else np.concatenate([[0.0], np.cumsum(graph.weights)])
        degrees = np.diff(self._starts)
        self._keys = row_of(degrees) * self._num_items + self._items  # (E,) ascending
        self._users = np.flatnonzero(degrees < self._num_items)
        if len(self._users) == 0:
            raise InputError("every user has every item, so dccf has no negative items; use behavior.source = svd")

    def draw(self, step: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Draw ``count`` users, positive items and negative items for a training step."""
        rng = np.random.default_rng([self._seed, step])
        users = self._users[rng.integers(len(self._users), size=count)]
        low, high = self._starts[users], self._starts[users + 1]
        share = rng.random(count)
        if self._cumulative is None:
            edges = low + (share * (high - low)).astype(np.int64)
        else:
            start, end = self._cumulative[low], self._cumulative[high]
            edges = np.searchsorted(self._cumulative, start + share * (end - start), side="right") - 1
            edges = np.clip(edges, low, high - 1)  # rounding
        positives = self._items[edges]
        negatives = rng.integers(self._num_items, size=count)
        while len(again := np.flatnonzero(self._has(users, negatives))):
            negatives[again] = rng.integers(self._num_items, size=len(again))
        return users, positives, negatives

    def _has(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.bool_]:
        return find(self._keys, users * self._num_items + items)[1]


class Validation:
    """Measures recall@20: ranks each held-out item among all items of the graph, without the user's training items."""

    def __init__(self, graph: InteractionGraph, targets: NDArray[np.int32], limit: int, seed: int) -> None:
        """Choose the validation users.

        Args:
            targets: ``(U,)`` held-out item_index of each user, -1 for none; an item outside the graph is a miss.
            limit: largest number of validation users.
        """
        held_out = targets[graph.user_index]
        rows = np.flatnonzero(held_out >= 0)
        if limit < len(rows):
            rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
        item_rows, is_known = find(graph.item_index, held_out[rows])
        self._graph = graph
        self._starts = graph.user_starts.cpu().numpy().astype(np.int64)
        self._num_users = len(rows)
        self._rows, self._targets = rows[is_known], item_rows[is_known]

    def __len__(self) -> int:
        return self._num_users

    def recall(self, final: Pair) -> float:
        """Return the share of validation users whose held-out item is among the 20 items with the highest scores."""
        hits, step = 0, max(1, _CHUNK_CELLS // len(final.items))
        device = final.items.device
        for start in range(0, len(self._rows), step):
            rows = self._rows[start : start + step]
            targets = torch.from_numpy(self._targets[start : start + step]).to(device)[:, None]
            scores = final.users[torch.from_numpy(rows).to(device)] @ final.items.t()  # (rows, M)
            wanted = scores.gather(1, targets)
            counts = self._starts[rows + 1] - self._starts[rows]
            edges = torch.from_numpy(ranges(self._starts[rows], counts)).to(device)
            seen = self._graph.item_of_edge[edges].long()
            scores[torch.from_numpy(row_of(counts)).to(device), seen] = -math.inf
            tied = ((scores == wanted).sum(dim=1) - 1).clamp_min(0)  # ties count against the held-out item
            better = (scores > wanted).sum(dim=1) + tied
            is_open = scores.gather(1, targets)[:, 0] > -math.inf
            hits += int(((better < _CUTOFF) & is_open).sum())
        return hits / self._num_users


class _TrainingLoop:
    def __init__(
        self, graph: InteractionGraph, settings: BehaviorSettings, dccf: DccfSettings, training: DccfTraining
    ) -> None:
        self.settings = dccf
        self.training = training
        self.device = graph.user_starts.device
        self.sampler = TripleSampler(graph, settings.seed)
        self.model = Dccf(graph, settings.dimensions, dccf, settings.seed)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=dccf.learning_rate)
        self.validation: Validation | None = None
        if training.targets is not None and dccf.validation_users > 0:
            validation = Validation(graph, training.targets, dccf.validation_users, settings.seed)
            self.validation = validation if len(validation) else None
        self.counters = Counters()
        self.best: Pair | None = None
        self._load()
        self.saved_at = time.monotonic()

    @property
    def finished(self) -> bool:
        return self.counters.stopped or self.counters.epoch >= self.settings.epochs

    @property
    def final(self) -> Pair:
        """The vectors with the best validation recall so far, or the current vectors if there is no validation."""
        if self.best is not None:
            return self.best
        with torch.no_grad():
            final, _ = self.model()
        return Pair(final.users, final.items)

    def run_epoch(self) -> None:
        """Train the remaining batches of the epoch, measure the validation recall, and save the state."""
        counters, settings = self.counters, self.settings
        label = f"dccf epoch {counters.epoch + 1}/{settings.epochs}"
        with self.training.progress.task(label, settings.batches_per_epoch, "batches", counters.batch) as bar:
            while counters.batch < settings.batches_per_epoch:
                self._step(bar)
                if time.monotonic() - self.saved_at >= settings.checkpoint_seconds:
                    self._save()
        self._close_epoch()
        self._save()

    def _step(self, bar: Task) -> None:
        counters, settings = self.counters, self.settings
        step = counters.epoch * settings.batches_per_epoch + counters.batch
        drawn = (torch.from_numpy(rows).to(self.device) for rows in self.sampler.draw(step, settings.batch_size))
        loss = self.model.loss(Triples(*drawn))
        value = float(loss.detach())
        if not math.isfinite(value):
            raise CheckFailedError(
                f"the loss of dccf is {value} at step {step}; lower dccf.learning_rate, then run the same command again"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        counters.batch += 1
        counters.loss_sum += value
        bar.advance(1, f"loss {value:.4f}")

    def _close_epoch(self) -> None:
        counters, settings = self.counters, self.settings
        counters.epoch += 1
        line = {"epoch": counters.epoch, "loss": counters.loss_sum / settings.batches_per_epoch}
        counters.batch, counters.loss_sum = 0, 0.0
        counters.epochs.append(line)
        if self.validation is None:
            return
        with torch.no_grad():
            final, _ = self.model()
            recall = self.validation.recall(final)
        line["recall@20"] = recall
        self.training.progress.say(
            f"epoch {counters.epoch}: loss {line['loss']:.4f}, validation recall@20 {recall:.4f}"
        )
        if recall > counters.best_recall:
            counters.best_recall, counters.best_epoch, counters.rounds_without_better = recall, counters.epoch, 0
            self.best = final
        else:
            counters.rounds_without_better += 1
            counters.stopped = counters.rounds_without_better >= settings.patience

    def _save(self) -> None:
        tensors = adam_tensors(self.model, self.optimizer)
        if self.best is not None:
            tensors |= {"best/users": self.best.users, "best/items": self.best.items}
        write_state(self.training.folder / DCCF_STATE, tensors, counters=asdict(self.counters))
        self.saved_at = time.monotonic()

    def _load(self) -> None:
        path = self.training.folder / DCCF_STATE
        if not path.exists():
            return
        with damage_named(path):
            tensors, notes = read_state(path)
            self.counters = Counters(**notes["counters"])
            restore_adam(self.model, self.optimizer, tensors)
        if "best/users" in tensors:
            self.best = Pair(tensors["best/users"].to(self.device), tensors["best/items"].to(self.device))
