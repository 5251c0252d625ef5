"""Behaviour vectors from DCCF beside those of the SVD: the cost of training, and recall of the validation items.

Recall@20 ranks all items of the train cut by their dot product with the user's vector, without the items of the user's
history, for every user with a validation item. The size `full` takes Games with DCCF's default settings. The size `small`
draws users with planted tastes and trains a few epochs.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.data import drawn_sequences, games_sequences
from benchmarks.rows import Comparison, Row, Size, command
from benchmarks.timing import set_torch_threads, timed
from semconv.behavior.dccf import Pair
from semconv.behavior.dccf_training import DccfTraining, Validation, fit_dccf
from semconv.behavior.graph import InteractionGraph
from semconv.behavior.svd import fit_svd
from semconv.behavior.vectors import BehaviorVectors
from semconv.data.core import train_part
from semconv.data.splits import targets
from semconv.data.store import Sequences
from semconv.progress import Silent
from semconv.settings.behavior import BehaviorSettings, DccfSettings

ALL_USERS = 1 << 31


@dataclass(frozen=True)
class Data:
    """The train cut, and the items held out of it."""

    name: str
    train: Sequences
    held_out: NDArray[np.int32]  # (U,) validation item_index, -1 for none
    num_items: int

    def recall(self, vectors: BehaviorVectors) -> float:
        """Return recall@20 of the validation items, over all users that have one."""
        graph = InteractionGraph.build(self.train, self.num_items)
        validation = Validation(graph, self.held_out, ALL_USERS, seed=0)
        # Item vectors are centred and user vectors are not. That does not change any user's order of items.
        return validation.recall(Pair(torch.from_numpy(vectors.user_vectors), torch.from_numpy(vectors.item_vectors)))


def run(size: Size) -> list[Row]:
    """Measure seconds and recall of DCCF, beside the SVD of each graph."""
    set_torch_threads()
    data = _data(size)
    settings = DccfSettings() if size == "full" else DccfSettings(epochs=4, batch_size=512)
    ours_seconds, ours = timed(lambda: _dccf(data, settings), repeats=1)
    ours_recall = data.recall(ours)
    rows = []
    for graph in ("interactions", "transitions"):
        svd = BehaviorSettings(graph=graph)  # type: ignore[arg-type]
        peer_seconds, peer = timed(partial(fit_svd, data.train, data.num_items, svd), repeats=1)
        comparison = Comparison("behavior", f"svd of the {graph}", ["torch", "scipy"])
        rows.append(comparison.row(data.name, "fit", "s", ours=ours_seconds.wall, peer=peer_seconds.wall))
        metric, unit, recall = "recall@20 of the validation items", "share of users", data.recall(peer)
        rows.append(comparison.row(data.name, metric, unit, ours=ours_recall, peer=recall, higher_is_better=True))
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
    command(run, __doc__)
