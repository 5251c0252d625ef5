"""Behaviour vectors from DCCF beside those of the SVD: what training them costs, and recall@20 of the validation items.

Recall ranks all items of the train cut by the dot product with the user's vector, items of the user's history left out;
every user with a validation item counts. ``full`` takes Games with DCCF's own settings, ``small`` planted tastes and
a few epochs.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.data import drawn_sequences, games_sequences
from benchmarks.rows import Row, Size, Subject, command, seconds_of
from semconv.behavior.dccf import Pair
from semconv.behavior.dccf_training import DccfTraining, Validation, fit_dccf
from semconv.behavior.graph import InteractionGraph
from semconv.behavior.svd import fit_svd
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.splits import targets, train_part
from semconv.data.store import Sequences
from semconv.progress import Silent
from semconv.settings.behavior import BehaviorSettings, DccfSettings

PACKAGES = ["torch", "scipy"]
ALL_USERS = 1 << 31


@dataclass(frozen=True)
class Data:
    """The train cut and what it is judged by."""

    name: str
    train: Sequences
    held_out: NDArray[np.int32]  # (U,) validation item_index, -1 without
    num_items: int

    def recall(self, vectors: BehaviorVectors) -> float:
        """Recall@20 of the validation items, over all users that have one."""
        graph = InteractionGraph.build(self.train, self.num_items)
        validation = Validation(graph, self.held_out, ALL_USERS, seed=0)
        # Items are centred and users are not, which leaves every user's order as it was before.
        return validation.recall(Pair(torch.from_numpy(vectors.user_vectors), torch.from_numpy(vectors.item_vectors)))


def run(size: Size) -> list[Row]:
    """Seconds and recall of DCCF beside each graph that the SVD decomposes."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))  # as numpy's BLAS takes
    data = _data(size)
    dccf = DccfSettings() if size == "full" else DccfSettings(epochs=4, batch_size=512)
    ours_seconds, ours = seconds_of(lambda: _dccf(data, dccf), repeats=1)
    ours_recall = data.recall(ours)
    rows = []
    for graph in ("interactions", "transitions"):
        settings = BehaviorSettings(graph=graph)  # type: ignore[arg-type]
        peer_seconds, peer = seconds_of(lambda of=settings: fit_svd(data.train, data.num_items, of), repeats=1)  # type: ignore[misc]
        subject = Subject("behavior", f"svd of the {graph}", PACKAGES)
        rows.append(subject.row(data.name, "fit", "s", ours=ours_seconds, peer=peer_seconds))
        rows.append(
            subject.row(
                data.name,
                "recall@20 of the validation items",
                "share of users",
                ours=ours_recall,
                peer=data.recall(peer),
                higher_is_better=True,
            )
        )
    return rows


def _data(size: Size) -> Data:
    games = games_sequences() if size == "full" else None
    if games is None:
        sequences, num_items, name = drawn_sequences(3_000, 1_000, 20), 1_000, "3,000 drawn users, 1,000 items"
    else:
        sequences, num_items, name = games[0], len(games[1]), "Games"
    return Data(name, train_part(sequences, "[:-2]", 2, num_items), targets(sequences, "valid"), num_items)


def _dccf(data: Data, settings: DccfSettings) -> BehaviorVectors:
    with tempfile.TemporaryDirectory() as folder:
        training = DccfTraining(Path(folder), Silent(), data.held_out)
        return fit_dccf(data.train, data.num_items, BehaviorSettings(source="dccf"), settings, training)[0]


if __name__ == "__main__":
    command(run)
