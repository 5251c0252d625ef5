"""Train a peer in a folder: epochs, limits, the choice of an epoch on validation users, and exact resume.

Every epoch ends with a checkpoint. A killed training resumes from it, and ends with the same weights as an uninterrupted
one, because order, masks and dropout of an epoch depend only on the seed and the epoch.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.errors import CheckFailedError, InputError
from semconv.metrics import is_as_good, ndcg
from semconv.peers.data import PeerData
from semconv.peers.loss import loss_of
from semconv.peers.network import PeerNetwork
from semconv.peers.ranking import exact_ranks
from semconv.peers.registry import make_network
from semconv.peers.settings import Limits, PeerSettings
from semconv.progress import Progress, Silent
from semconv.runs.files import PEER_EPOCHS, PEER_STATE
from semconv.training_state import adam_tensors, damage_named, read_state, restore_adam, write_state

_POOL = 16  # batches in a pool; the windows of a pool are sorted by length


@dataclass
class Counters:
    """The progress of a training."""

    epoch: int = 0
    samples: int = 0
    processor_seconds: float = 0.0  # of training, without validation
    best_ndcg: float = -1.0  # the highest NDCG@10 so far
    best_epoch: int = 0  # its epoch, from 1; 0 before the first validation
    kept_ndcg: float = -1.0  # of the weights that are kept: the latest epoch that is as good as the best one
    kept_epoch: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)


class PeerTraining:
    """A training in a folder, which resumes where it stopped."""

    def __init__(
        self, name: str, data: PeerData, settings: PeerSettings, folder: Path, progress: Progress | None = None
    ) -> None:
        """Load the folder's checkpoint if it has one.

        Raises:
            InputError: no training sequence has two items, or the checkpoint is of other settings.
            SettingsError: there is no peer of this name.
        """
        self.name, self.data, self.settings, self.folder = name, data, settings, folder
        self.progress = progress or Silent()
        self.model = make_network(name, data.num_items, settings, data.side)
        self.windows = torch.from_numpy(read_windows(self.model, data, settings.history))  # (W, history + 1)
        self.lengths = (self.windows >= 0).sum(dim=1).numpy()
        self.labels_per_window = float(self.model.labels_of(self.lengths).mean())
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98))
        self.counters = Counters()
        self.best: dict[str, Tensor] = {}
        self._load()

    def run(self, limits: Limits) -> Counters:
        """Train until a limit is reached. Only epochs of the full softmax count for the patience."""
        counters = self.counters
        while counters.epoch < limits.epochs and not self._has_used(limits):
            since = counters.epoch - max(counters.best_epoch, self.settings.sampled_epochs)
            if self.data.validation is not None and since >= limits.patience:
                break
            self._finish_epoch(self._train_epoch(limits))
        return counters

    def best_model(self) -> PeerNetwork:
        """Return a model with the weights of the kept epoch, or of the last epoch without validation."""
        model = make_network(self.name, self.data.num_items, self.settings, self.data.side)
        model.load_state_dict(self.best)
        return model

    def figures(self) -> dict[str, Any]:
        """Return the figures of the training so far."""
        counters = self.counters
        return {
            "peer": self.name,
            "epochs": counters.epoch,
            "samples": counters.samples,
            "processor_seconds": round(counters.processor_seconds, 3),
            "best_epoch": counters.kept_epoch if self.data.validation is not None else counters.epoch,
            "best_ndcg": counters.kept_ndcg if self.data.validation is not None else None,
        }

    def _has_used(self, limits: Limits) -> bool:
        used_time = bool(limits.processor_seconds) and self.counters.processor_seconds >= limits.processor_seconds
        return used_time or (bool(limits.samples) and self.counters.samples >= limits.samples)

    def _train_epoch(self, limits: Limits) -> dict[str, float]:
        """Train one epoch, or the part of it that the limits allow; return its line of the log."""
        settings, epoch, counters = self.settings, self.counters.epoch, self.counters
        started, before = time.process_time(), counters.processor_seconds
        torch.manual_seed(settings.seed * 1_000_003 + epoch)  # dropout
        rng = np.random.default_rng([settings.seed, epoch])
        self.model.train()
        total, labels = 0.0, 0
        label = f"{self.name} epoch {epoch + 1}"
        expected = round(self.labels_per_window * len(self.windows) * self.model.passes)
        with self.progress.task(label, expected, "samples") as bar:
            for rows in self._batches(rng):
                found, count = self._step(self.windows[rows].long(), rng)
                total += found * count
                labels += count
                counters.samples += count
                counters.processor_seconds = before + time.process_time() - started
                bar.advance(count, f"loss {found:.3f}")
                if self._has_used(limits):
                    break
        if not math.isfinite(total):
            raise CheckFailedError(f"the loss of {self.name} is not finite; lower the learning rate")
        seconds = time.process_time() - started
        counters.processor_seconds = before + seconds
        return {"epoch": float(epoch + 1), "loss": total / labels, "processor seconds": round(seconds, 1)}

    def _step(self, windows: Tensor, rng: np.random.Generator) -> tuple[float, int]:
        """Train on one batch of windows; return the mean loss and the number of labels."""
        settings = self.settings
        negatives = None
        if self.counters.epoch < settings.sampled_epochs:
            negatives = torch.from_numpy(rng.integers(self.data.num_items, size=settings.negatives))
        inputs, wanted = self.model.examples(windows, rng)
        loss = loss_of(self.model, inputs, wanted, negatives)
        # Every label of an epoch has the same weight, in batches of short windows and of long ones.
        count = int((wanted >= 0).sum())
        share = count / (self.labels_per_window * settings.batch)
        self.optimizer.zero_grad(set_to_none=True)
        (loss * share).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach()), count

    def _batches(self, rng: np.random.Generator) -> Iterator[Tensor]:
        """Yield the windows of each step: drawn in pools, sorted by length in a pool, and shuffled as batches."""
        size = self.settings.batch
        for _ in range(self.model.passes):
            order = rng.permutation(len(self.windows))
            pools = [order[start : start + _POOL * size] for start in range(0, len(order), _POOL * size)]
            by_length = [pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools]
            batches = [pool[start : start + size] for pool in by_length for start in range(0, len(pool), size)]
            yield from (torch.from_numpy(batches[number]) for number in rng.permutation(len(batches)))

    def _finish_epoch(self, line: dict[str, float]) -> None:
        """Validate, keep the weights if none so far are better (``is_as_good``), and save the state."""
        counters = self.counters
        counters.epoch += 1
        counters.epochs.append(line)
        is_kept = True
        if self.data.validation is not None:
            started = time.process_time()
            score = float(ndcg(exact_ranks(self.model, self.data.validation), 10).mean())
            line |= {"validation ndcg@10": score, "validation seconds": round(time.process_time() - started, 1)}
            self.progress.say(f"{self.name} epoch {counters.epoch}: validation NDCG@10 {score:.4f}")
            if score > counters.best_ndcg:
                counters.best_ndcg, counters.best_epoch = score, counters.epoch
            is_kept = is_as_good(score, counters.best_ndcg)
            if is_kept:
                counters.kept_ndcg, counters.kept_epoch = score, counters.epoch
        if is_kept:
            self.best = {name: weight.detach().clone() for name, weight in self.model.state_dict().items()}
        self._save()
        with (self.folder / PEER_EPOCHS).open("w") as log:  # all lines, so that a kill after the checkpoint loses none
            log.writelines(json.dumps(each) + "\n" for each in counters.epochs)

    def _save(self) -> None:
        tensors = {f"best/{name}": weight for name, weight in self.best.items()}
        tensors |= adam_tensors(self.model, self.optimizer)
        path = self.folder / PEER_STATE
        write_state(path, tensors, counters=asdict(self.counters), settings=self._identity())

    def _identity(self) -> dict[str, Any]:
        side = self.data.side
        reads = {} if side is None else {"periods": side.num_periods, "text_width": side.texts.shape[1]}
        return {"peer": self.name, **asdict(self.settings), **reads}

    def _load(self) -> None:
        path = self.folder / PEER_STATE
        if not path.exists():
            return
        with damage_named(path):
            tensors, notes = read_state(path)
            if notes["settings"] != self._identity():
                raise InputError(f"{path}: this training has other settings; name another folder")
            self.counters = Counters(**notes["counters"])
            restore_adam(self.model, self.optimizer, tensors)
        self.best = {name.removeprefix("best/"): value for name, value in tensors.items() if name.startswith("best/")}


def read_windows(network: PeerNetwork, data: PeerData, length: int) -> NDArray[Any]:
    """Return the windows ``(W, length + 1)`` of the training sequences as a network reads them.

    Raises:
        InputError: no training sequence has two items.
    """
    train = data.train
    if data.side is None:
        return network.windows(train, length)
    rows = network.windows(replace(train, items=np.arange(len(train.items), dtype=np.int32)), length)
    numbers = data.side.numbers(train.items, train.times, train.offsets)
    return np.where(rows >= 0, numbers[rows], -1)
