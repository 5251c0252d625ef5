"""Train SASRec on Games or on a project's data, and write the rank of every user's held-out item.

    python -m benchmarks.peers.sasrec_training --folder DIR [--project P] [--epochs 30] [--dropout 0.3]

Every epoch ends with a checkpoint. The same command resumes a killed training, and ends with the same weights. The folder
gets `peer_state.safetensors`, `epochs.jsonl` (one line for each epoch), `ranks-valid.parquet` and `ranks-test.parquet`.
The ranks are those of the best epoch, in the columns `user_id` and `sasrec`, among all items outside of the user's
history. `--top-k` writes the lists too. `--peer bert4rec` and `--peer fmlp` train another network.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from benchmarks.data import games_sequences
from benchmarks.timing import set_torch_threads
from semconv.artifacts import atomic_path
from semconv.columns import Split
from semconv.data.core import train_part
from semconv.data.splits import history_lengths, targets
from semconv.data.store import Sequences
from semconv.errors import InputError
from semconv.metrics import hit_ratio, ndcg
from semconv.peers.data import PeerData, RankingTask
from semconv.peers.ranking import exact_ranks, masked_scores
from semconv.peers.registry import NETWORKS
from semconv.peers.settings import Limits, PeerSettings
from semconv.peers.training import PeerTraining
from semconv.progress import Silent

METHOD = "sasrec"
CUTOFFS = {"hr@1": (hit_ratio, 1), "hr@5": (hit_ratio, 5), "hr@10": (hit_ratio, 10), "ndcg@5": (ndcg, 5), "ndcg@10": (ndcg, 10)}  # fmt: skip


@dataclass(frozen=True)
class SequenceData:
    """The train part of the sequences, and the whole sequences to evaluate on."""

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

    def for_training(self, validation_users: int, seed: int) -> PeerData:
        """Return the data of a training that is validated on a sample of users."""
        users = self.evaluated("valid")
        chosen = np.random.default_rng(seed).permutation(len(users))[:validation_users]
        return PeerData(self.train, len(self.item_ids), self.ranking_task("valid", users[np.sort(chosen)]))


class Spoken(Silent):
    """Prints what a training says on stderr."""

    def say(self, message: str) -> None:
        """Print one line."""
        print(message, file=sys.stderr, flush=True)


def sequence_data(project: Path | None) -> SequenceData:
    """Read the data of a project, with the project's train cut and core; without a project, read Games."""
    if project is None:
        games = games_sequences()
        if games is None:
            raise InputError("the Games data is not on this machine; name a project with --project")
        sequences, ids = games
        train = train_part(sequences, "[:-2]", 2, len(ids))
        return SequenceData("Games", sequences, train, ids, np.ones(len(ids), dtype=bool))
    from semconv_warehouse.project import Project

    opened = Project.open(project)
    sequences, catalog, split = opened.workspace.sequences(), opened.store.catalog(), opened.settings.split
    train = train_part(sequences, split.train_cut, split.k_core, len(catalog))
    return SequenceData(project.resolve().name, sequences, train, list(catalog.item_ids), catalog.is_servable)


def ranks_of(training: PeerTraining, data: SequenceData, split: Split) -> tuple[list[str], NDArray[np.int64]]:
    """Return every evaluated user, and the rank of the user's held-out item by the best epoch."""
    users = data.evaluated(split)
    names = [data.sequences.user_ids[int(user)] for user in users]
    return names, exact_ranks(training.best_model(), data.ranking_task(split, users))


def lists_of(training: PeerTraining, data: SequenceData, split: Split, k: int) -> Iterator[pa.Table]:
    """Yield the k best items of the evaluated users with their log probabilities, for blocks of users."""
    users = data.evaluated(split)
    ids = np.array(data.item_ids)
    names = np.array(data.sequences.user_ids)
    for rows, scores in masked_scores(training.best_model(), data.ranking_task(split, users)):
        best, items = scores.topk(min(k, scores.shape[1]), dim=1)
        kept = ~torch.isinf(best).numpy().ravel()
        some = np.repeat(names[users[rows]], best.shape[1])[kept]
        rank = np.tile(np.arange(1, best.shape[1] + 1), len(best))[kept]
        yield pa.table(
            {"user_id": some, "rank": rank, "item_id": ids[items.numpy().ravel()[kept]], "score": best.numpy().ravel()[kept]}
        )  # fmt: skip


def figures(ranks: NDArray[np.int64]) -> dict[str, float]:
    """Return hit ratio and NDCG at the usual cutoffs."""
    return {name: float(metric(ranks, k).mean()) for name, (metric, k) in CUTOFFS.items()}


def export(training: PeerTraining, data: SequenceData, top_k: int) -> dict[str, dict[str, float]]:
    """Write the ranks of both splits, and their lists if ``top_k`` is above 0. Return the figures of each split."""
    result: dict[str, dict[str, float]] = {}
    splits: tuple[Split, ...] = ("valid", "test")
    for split in splits:
        users, ranks = ranks_of(training, data, split)
        with atomic_path(training.folder / f"ranks-{split}.parquet") as path:
            pq.write_table(pa.table({"user_id": users, METHOD: ranks}), path)
        if top_k:
            with atomic_path(training.folder / f"lists-{split}.parquet") as path:
                pq.write_table(pa.concat_tables(lists_of(training, data, split, top_k)), path)
        result[split] = figures(ranks)
    return result


def main() -> None:
    """Train or resume, write ranks and lists, and print the figures of both splits as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the training")
    parser.add_argument("--project", type=Path, help="project with the data; default: the Games data")
    parser.add_argument("--peer", choices=list(NETWORKS), default=METHOD, help="network; default: sasrec")
    parser.add_argument("--epochs", type=int, default=30, help="most epochs")
    parser.add_argument("--patience", type=int, default=3, help="epochs without a better NDCG@10 before training stops")
    parser.add_argument("--validation-users", type=int, default=10_000, help="users on whom epochs are compared")
    parser.add_argument("--top-k", type=int, default=0, help="also write lists of this length")
    for setting in fields(PeerSettings):
        parser.add_argument(f"--{setting.name.replace('_', '-')}", type=type(setting.default), default=setting.default)
    given = vars(parser.parse_args())
    settings = PeerSettings(**{setting.name: given[setting.name] for setting in fields(PeerSettings)})
    set_torch_threads()
    given["folder"].mkdir(parents=True, exist_ok=True)
    data = sequence_data(given["project"])
    for_training = data.for_training(given["validation_users"], settings.seed)
    training = PeerTraining(given["peer"], for_training, settings, given["folder"], Spoken())
    counters = training.run(Limits(given["epochs"], patience=given["patience"]))
    results = export(training, data, given["top_k"])
    print(json.dumps({"settings": asdict(settings), "best_epoch": counters.best_epoch, **results}))


if __name__ == "__main__":
    main()
