"""Train SASRec on Games or on a project's data, an epoch a checkpoint, and leave the rank of every user's target.

    python -m benchmarks.sasrec_training --folder DIR [--project P] [--epochs 30] [--dropout 0.3]

A training that was killed goes on with the same command and ends with the same weights. In the folder: ``sasrec.safetensors``,
``epochs.jsonl`` (a line an epoch, as it ends) and ``ranks-valid.parquet``, ``ranks-test.parquet`` of the best epoch: ``user_id``
and ``sasrec``, the rank of the user's target among all items that the history has not; with ``--top-k`` the lists too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from benchmarks.data import games_sequences
from benchmarks.sasrec import Asked, Sasrec, SasrecSettings, exact_ranks, loss_of, masked_scores
from semconv.artifacts import atomic_path
from semconv.columns import Split
from semconv.data.splits import history_lengths, targets, train_part
from semconv.data.store import Sequences
from semconv.errors import CheckFailedError, InputError
from semconv.metrics import hit_ratio, ndcg

_POOL = 16  # batches whose windows are sorted by length together
STATE, LOG, METHOD = "sasrec.safetensors", "epochs.jsonl", "sasrec"
CUTOFFS = {"hr@1": (hit_ratio, 1), "hr@5": (hit_ratio, 5), "hr@10": (hit_ratio, 10), "ndcg@5": (ndcg, 5), "ndcg@10": (ndcg, 10)}  # fmt: skip


@dataclass(frozen=True)
class PeerData:
    """Everything a training sees: the train part, and whole sequences to ask about."""

    name: str
    sequences: Sequences
    train: Sequences
    item_ids: list[str]
    allowed: NDArray[np.bool_]  # (I,)

    def asked(self, split: Split, users: NDArray[np.int64]) -> Asked:
        """Histories and targets of some users under a split."""
        ends = history_lengths(self.sequences, split)
        histories = [self.sequences.of(int(user))[: ends[user]] for user in users]
        return Asked(histories, targets(self.sequences, split)[users], self.allowed)

    def evaluated(self, split: Split) -> NDArray[np.int64]:
        """Users with a target."""
        return np.flatnonzero(targets(self.sequences, split) >= 0)


@dataclass
class Counters:
    """Where training is."""

    epoch: int = 0
    best_ndcg: float = -1.0
    best_epoch: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)


def peer_data(project: Path | None) -> PeerData:
    """Of a project, with its own train cut and core; Games without one."""
    if project is None:
        games = games_sequences()
        if games is None:
            raise InputError("the Games data is not at hand: name a project with --project")
        sequences, ids = games
        train = train_part(sequences, "[:-2]", 2, len(ids))
        return PeerData("Games", sequences, train, ids, np.ones(len(ids), dtype=bool))
    from semconv_warehouse.project import Project

    opened = Project.open(project)
    sequences, catalog, split = opened.workspace.sequences(), opened.store.catalog(), opened.settings.split
    train = train_part(sequences, split.train_cut, split.k_core, len(catalog))
    return PeerData(project.resolve().name, sequences, train, list(catalog.item_ids), catalog.is_servable)


def windows(train: Sequences, length: int) -> NDArray[np.int32]:
    """Windows ``(W, length + 1)`` from the end of each sequence, -1 before its start.

    Every item but a sequence's first is the target of one place of one window.
    """
    rows = []
    for user in range(len(train)):
        items = train.of(user)
        for end in range(len(items), 1, -length):
            part = items[max(0, end - length - 1) : end]
            row = np.full(length + 1, -1, dtype=np.int32)
            row[length + 1 - len(part) :] = part
            rows.append(row)
    if not rows:
        raise InputError("no training sequence has two items")
    return np.stack(rows)


class SasrecTraining:
    """A training in a folder, from wherever it stopped."""

    def __init__(self, data: PeerData, settings: SasrecSettings, folder: Path) -> None:
        """InputError when the folder holds a training with other settings."""
        self.data, self.settings, self.folder = data, settings, folder
        self.windows = torch.from_numpy(windows(data.train, settings.history)).long()
        self.lengths = (self.windows >= 0).sum(dim=1).numpy()
        self.places_a_window = float((self.lengths - 1).mean())
        self.model = Sasrec(len(data.item_ids), settings)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98))
        self.counters = Counters()
        self.best: dict[str, torch.Tensor] = {}
        users = data.evaluated("valid")
        chosen = np.random.default_rng(settings.seed).permutation(len(users))[: settings.validation_users]
        self.validation = data.asked("valid", users[np.sort(chosen)])
        self._load()

    def run(self, epochs: int, patience: int) -> Counters:
        """Train until so many epochs, or so many of the full softmax without a better validation NDCG@10, are done."""
        counters = self.counters
        while counters.epoch < epochs:
            if counters.epoch - max(counters.best_epoch, self.settings.sampled_epochs) >= patience:
                break
            started = time.process_time()
            line = {"epoch": float(counters.epoch + 1), "loss": self._train_epoch()}
            seconds = time.process_time() - started
            ranks = exact_ranks(self.model, self.validation, self.settings)
            line |= {f"validation {name}": value for name, value in figures(ranks).items()}
            line["processor seconds"] = round(seconds, 1)
            line["validation processor seconds"] = round(time.process_time() - started - seconds, 1)
            self._close(line)
        return counters

    def ranks(self, split: Split) -> tuple[list[str], NDArray[np.int64]]:
        """Every evaluated user and the rank of their target, by the best epoch."""
        users = self.data.evaluated(split)
        names = [self.data.sequences.user_ids[int(user)] for user in users]
        return names, exact_ranks(self.best_model(), self.data.asked(split, users), self.settings)

    def lists(self, split: Split, k: int) -> Iterator[pa.Table]:
        """The k best items of every evaluated user with their log probabilities, some users at a time."""
        users = self.data.evaluated(split)
        ids = np.array(self.data.item_ids)
        names = np.array(self.data.sequences.user_ids)
        for rows, scores in masked_scores(self.best_model(), self.data.asked(split, users), self.settings):
            best, items = scores.topk(min(k, scores.shape[1]), dim=1)
            kept = ~torch.isinf(best).numpy().ravel()
            some = np.repeat(names[users[rows]], best.shape[1])[kept]
            rank = np.tile(np.arange(1, best.shape[1] + 1), len(best))[kept]
            yield pa.table(
                {"user_id": some, "rank": rank, "item_id": ids[items.numpy().ravel()[kept]], "score": best.numpy().ravel()[kept]}
            )  # fmt: skip

    def best_model(self) -> Sasrec:
        """A model with the weights of the best validation."""
        model = Sasrec(len(self.data.item_ids), self.settings)
        model.load_state_dict(self.best)
        return model

    def _train_epoch(self) -> float:
        settings, epoch = self.settings, self.counters.epoch
        torch.manual_seed(settings.seed * 1_000_003 + epoch)  # dropout
        rng = np.random.default_rng([settings.seed, epoch])
        self.model.train()
        total = 0.0
        for rows in self._batches(rng):
            batch = self.windows[rows]
            batch = batch[:, int((batch >= 0).any(dim=0).int().argmax()) :]  # without columns that all are empty
            negatives = None
            if epoch < settings.sampled_epochs:
                negatives = torch.from_numpy(rng.integers(len(self.data.item_ids), size=settings.negatives))
            inputs, wanted = batch[:, :-1], batch[:, 1:]
            loss = loss_of(self.model, inputs, wanted, negatives)
            # Every place of an epoch weighs the same, in a batch of short windows or of long ones.
            places = int((inputs >= 0).sum())
            share = places / (self.places_a_window * settings.batch)
            self.optimizer.zero_grad(set_to_none=True)
            (loss * share).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += float(loss.detach()) * places
        if not math.isfinite(total):
            raise CheckFailedError("the loss of sasrec is not finite; lower --learning-rate")
        return total / (self.places_a_window * len(self.windows))

    def _batches(self, rng: np.random.Generator) -> list[torch.Tensor]:
        """Rows of windows by step: drawn in pools, in which windows of like lengths come together, and shuffled again."""
        size = self.settings.batch
        order = rng.permutation(len(self.windows))
        pools = [order[start : start + _POOL * size] for start in range(0, len(order), _POOL * size)]
        by_length = [pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools]
        batches = [pool[start : start + size] for pool in by_length for start in range(0, len(pool), size)]
        return [torch.from_numpy(batches[place]) for place in rng.permutation(len(batches))]

    def _close(self, line: dict[str, float]) -> None:
        counters = self.counters
        counters.epoch += 1
        counters.epochs.append(line)
        if line["validation ndcg@10"] > counters.best_ndcg:
            counters.best_ndcg, counters.best_epoch = line["validation ndcg@10"], counters.epoch
            self.best = {name: weight.detach().clone() for name, weight in self.model.state_dict().items()}
        self._save()
        with (self.folder / LOG).open("w") as log:  # whole, so that a kill after the checkpoint loses no line
            log.writelines(json.dumps(each) + "\n" for each in counters.epochs)
        print(json.dumps(line), file=sys.stderr, flush=True)

    def _save(self) -> None:
        tensors = {f"best/{name}": weight for name, weight in self.best.items()}
        for name, weight in self.model.named_parameters():
            tensors[f"weight/{name}"] = weight.detach()
            for moment, value in self.optimizer.state[weight].items():
                tensors[f"{moment}/{name}"] = torch.as_tensor(value)
        metadata = {"counters": json.dumps(asdict(self.counters)), "settings": json.dumps(asdict(self.settings))}
        with atomic_path(self.folder / STATE) as path:
            save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata=metadata)

    def _load(self) -> None:
        path = self.folder / STATE
        if not path.exists():
            return
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        if json.loads(metadata["settings"]) != asdict(self.settings):
            raise InputError(f"{path}: a training with other settings; give another --folder")
        self.counters = Counters(**json.loads(metadata["counters"]))
        tensors = load_file(path)
        self.best = {name.removeprefix("best/"): value for name, value in tensors.items() if name.startswith("best/")}
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                weight.copy_(tensors[f"weight/{name}"])
                self.optimizer.state[weight] = {
                    moment: tensors[f"{moment}/{name}"] for moment in ("step", "exp_avg", "exp_avg_sq")
                }


def figures(ranks: NDArray[np.int64]) -> dict[str, float]:
    """Hit ratio and NDCG at the usual places."""
    return {name: float(metric(ranks, k).mean()) for name, (metric, k) in CUTOFFS.items()}


def export(training: SasrecTraining, top_k: int) -> dict[str, dict[str, float]]:
    """Write ranks and lists of both splits; figures by split."""
    result: dict[str, dict[str, float]] = {}
    splits: tuple[Split, ...] = ("valid", "test")
    for split in splits:
        users, ranks = training.ranks(split)
        with atomic_path(training.folder / f"ranks-{split}.parquet") as path:
            pq.write_table(pa.table({"user_id": users, METHOD: ranks}), path)
        if top_k:
            with atomic_path(training.folder / f"lists-{split}.parquet") as path:
                pq.write_table(pa.concat_tables(training.lists(split, top_k)), path)
        result[split] = figures(ranks)
    return result


def main() -> None:
    """Train or go on, then export; figures of both splits on stdout as JSON."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the training lives")
    parser.add_argument("--project", type=Path, help="whose data; Games without one")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--patience", type=int, default=3)
    parser.add_argument("--top-k", type=int, default=0, help="write lists of this length too")
    for setting in fields(SasrecSettings):
        parser.add_argument(f"--{setting.name.replace('_', '-')}", type=type(setting.default), default=setting.default)
    given = vars(parser.parse_args())
    settings = SasrecSettings(**{setting.name: given[setting.name] for setting in fields(SasrecSettings)})
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    given["folder"].mkdir(parents=True, exist_ok=True)
    training = SasrecTraining(peer_data(given["project"]), settings, given["folder"])
    counters = training.run(given["epochs"], given["patience"])
    print(
        json.dumps(
            {"settings": asdict(settings), "best_epoch": counters.best_epoch, **export(training, given["top_k"])}
        )
    )


if __name__ == "__main__":
    main()
