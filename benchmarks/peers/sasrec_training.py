"""Train SASRec on Games or on a project's data, and write the rank of every user's held-out item.

    python -m benchmarks.peers.sasrec_training --folder DIR [--project P] [--epochs 30] [--dropout 0.3]

Every epoch ends with a checkpoint. The same command resumes a killed training, and ends with the same weights. The folder
gets `sasrec.safetensors`, `epochs.jsonl` (one line for each epoch), `ranks-valid.parquet` and `ranks-test.parquet`. The
ranks are those of the best epoch, in the columns `user_id` and `sasrec`, among all items outside of the user's history.
`--top-k` writes the lists too.
"""

from __future__ import annotations

import argparse
import json
import math
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
from benchmarks.peers.sasrec import RankingTask, Sasrec, SasrecSettings, exact_ranks, loss_of, masked_scores
from benchmarks.timing import set_torch_threads
from semconv.artifacts import atomic_path
from semconv.columns import Split
from semconv.data.splits import history_lengths, targets, train_part
from semconv.data.store import Sequences
from semconv.errors import CheckFailedError, InputError
from semconv.metrics import hit_ratio, ndcg

_POOL = 16  # batches in a pool; the windows of a pool are sorted by length
STATE, LOG, METHOD = "sasrec.safetensors", "epochs.jsonl", "sasrec"
CUTOFFS = {"hr@1": (hit_ratio, 1), "hr@5": (hit_ratio, 5), "hr@10": (hit_ratio, 10), "ndcg@5": (ndcg, 5), "ndcg@10": (ndcg, 10)}  # fmt: skip


@dataclass(frozen=True)
class PeerData:
    """The data of a training: the train part of the sequences, and the whole sequences to evaluate on."""

    name: str
    sequences: Sequences
    train: Sequences
    item_ids: list[str]
    allowed: NDArray[np.bool_]  # (I,)

    def ranking_task(self, split: Split, users: NDArray[np.int64]) -> RankingTask:
        """Return histories and held-out items of some users for a split."""
        ends = history_lengths(self.sequences, split)
        histories = [self.sequences.of(int(user))[: ends[user]] for user in users]
        return RankingTask(histories, targets(self.sequences, split)[users], self.allowed)

    def evaluated(self, split: Split) -> NDArray[np.int64]:
        """Return the users with a held-out item."""
        return np.flatnonzero(targets(self.sequences, split) >= 0)


@dataclass
class Counters:
    """The progress of a training."""

    epoch: int = 0
    best_ndcg: float = -1.0
    best_epoch: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)


def peer_data(project: Path | None) -> PeerData:
    """Read the data of a project, with the project's train cut and core; without a project, read Games."""
    if project is None:
        games = games_sequences()
        if games is None:
            raise InputError("the Games data is not on this machine; name a project with --project")
        sequences, ids = games
        train = train_part(sequences, "[:-2]", 2, len(ids))
        return PeerData("Games", sequences, train, ids, np.ones(len(ids), dtype=bool))
    from semconv_warehouse.project import Project

    opened = Project.open(project)
    sequences, catalog, split = opened.workspace.sequences(), opened.store.catalog(), opened.settings.split
    train = train_part(sequences, split.train_cut, split.k_core, len(catalog))
    return PeerData(project.resolve().name, sequences, train, list(catalog.item_ids), catalog.is_servable)


def windows(train: Sequences, length: int) -> NDArray[np.int32]:
    """Cut each sequence into windows ``(W, length + 1)``, beginning at its end, with -1 before its start.

    Every item except the first of a sequence is the target of one position of one window.
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
        raise InputError("no training sequence has two items; SASRec needs longer ones")
    return np.stack(rows)


class SasrecTraining:
    """A training in a folder, which resumes where it stopped."""

    def __init__(self, data: PeerData, settings: SasrecSettings, folder: Path) -> None:
        """Load the folder's checkpoint if it has one; InputError if it is of other settings."""
        self.data, self.settings, self.folder = data, settings, folder
        self.windows = torch.from_numpy(windows(data.train, settings.history)).long()
        self.lengths = (self.windows >= 0).sum(dim=1).numpy()
        self.positions_in_window = float((self.lengths - 1).mean())
        self.model = Sasrec(len(data.item_ids), settings)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98))
        self.counters = Counters()
        self.best: dict[str, torch.Tensor] = {}
        users = data.evaluated("valid")
        chosen = np.random.default_rng(settings.seed).permutation(len(users))[: settings.validation_users]
        self.validation = data.ranking_task("valid", users[np.sort(chosen)])
        self._load()

    def run(self, epochs: int, patience: int) -> Counters:
        """Train until ``epochs`` are done, or until ``patience`` epochs of the full softmax bring no better NDCG@10."""
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
            self._finish_epoch(line)
        return counters

    def ranks(self, split: Split) -> tuple[list[str], NDArray[np.int64]]:
        """Return every evaluated user, and the rank of the user's held-out item by the best epoch."""
        users = self.data.evaluated(split)
        names = [self.data.sequences.user_ids[int(user)] for user in users]
        return names, exact_ranks(self.best_model(), self.data.ranking_task(split, users), self.settings)

    def lists(self, split: Split, k: int) -> Iterator[pa.Table]:
        """Yield the k best items of the evaluated users with their log probabilities, for blocks of users."""
        users = self.data.evaluated(split)
        ids = np.array(self.data.item_ids)
        names = np.array(self.data.sequences.user_ids)
        for rows, scores in masked_scores(self.best_model(), self.data.ranking_task(split, users), self.settings):
            best, items = scores.topk(min(k, scores.shape[1]), dim=1)
            kept = ~torch.isinf(best).numpy().ravel()
            some = np.repeat(names[users[rows]], best.shape[1])[kept]
            rank = np.tile(np.arange(1, best.shape[1] + 1), len(best))[kept]
            yield pa.table(
                {"user_id": some, "rank": rank, "item_id": ids[items.numpy().ravel()[kept]], "score": best.numpy().ravel()[kept]}
            )  # fmt: skip

    def best_model(self) -> Sasrec:
        """Return a model with the weights of the best epoch."""
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
            batch = batch[
                :, int((batch >= 0).any(dim=0).int().argmax()) :
            ]  # without the columns that are empty in all rows
            negatives = None
            if epoch < settings.sampled_epochs:
                negatives = torch.from_numpy(rng.integers(len(self.data.item_ids), size=settings.negatives))
            inputs, wanted = batch[:, :-1], batch[:, 1:]
            loss = loss_of(self.model, inputs, wanted, negatives)
            # Every position of an epoch has the same weight, in batches of short windows and of long ones.
            positions = int((inputs >= 0).sum())
            share = positions / (self.positions_in_window * settings.batch)
            self.optimizer.zero_grad(set_to_none=True)
            (loss * share).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += float(loss.detach()) * positions
        if not math.isfinite(total):
            raise CheckFailedError("the loss of sasrec is not finite; lower --learning-rate")
        return total / (self.positions_in_window * len(self.windows))

    def _batches(self, rng: np.random.Generator) -> list[torch.Tensor]:
        """Return the windows of each step: drawn in pools, sorted by length in a pool, and shuffled as batches."""
        size = self.settings.batch
        order = rng.permutation(len(self.windows))
        pools = [order[start : start + _POOL * size] for start in range(0, len(order), _POOL * size)]
        by_length = [pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools]
        batches = [pool[start : start + size] for pool in by_length for start in range(0, len(pool), size)]
        return [torch.from_numpy(batches[number]) for number in rng.permutation(len(batches))]

    def _finish_epoch(self, line: dict[str, float]) -> None:
        counters = self.counters
        counters.epoch += 1
        counters.epochs.append(line)
        if line["validation ndcg@10"] > counters.best_ndcg:
            counters.best_ndcg, counters.best_epoch = line["validation ndcg@10"], counters.epoch
            self.best = {name: weight.detach().clone() for name, weight in self.model.state_dict().items()}
        self._save()
        with (self.folder / LOG).open("w") as log:  # all lines, so that a kill after the checkpoint loses none
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
            raise InputError(f"{path}: this training has other settings; name another --folder")
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
    """Return hit ratio and NDCG at the usual cutoffs."""
    return {name: float(metric(ranks, k).mean()) for name, (metric, k) in CUTOFFS.items()}


def export(training: SasrecTraining, top_k: int) -> dict[str, dict[str, float]]:
    """Write the ranks of both splits, and their lists if ``top_k`` is above 0. Return the figures of each split."""
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
    """Train or resume, write ranks and lists, and print the figures of both splits as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the training")
    parser.add_argument("--project", type=Path, help="project with the data; default: the Games data")
    parser.add_argument("--epochs", type=int, default=30, help="most epochs")
    parser.add_argument("--patience", type=int, default=3, help="epochs without a better NDCG@10 before training stops")
    parser.add_argument("--top-k", type=int, default=0, help="also write lists of this length")
    for setting in fields(SasrecSettings):
        parser.add_argument(f"--{setting.name.replace('_', '-')}", type=type(setting.default), default=setting.default)
    given = vars(parser.parse_args())
    settings = SasrecSettings(**{setting.name: given[setting.name] for setting in fields(SasrecSettings)})
    set_torch_threads()
    given["folder"].mkdir(parents=True, exist_ok=True)
    training = SasrecTraining(peer_data(given["project"]), settings, given["folder"])
    counters = training.run(given["epochs"], given["patience"])
    results = export(training, given["top_k"])
    print(json.dumps({"settings": asdict(settings), "best_epoch": counters.best_epoch, **results}))


if __name__ == "__main__":
    main()
