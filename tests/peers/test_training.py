"""The training of a peer: it resumes exactly, keeps to its limits, and writes its results."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.peers.sasrec_training import METHOD, export
from semconv.errors import InputError
from semconv.peers import training as peer_training
from semconv.peers.data import PeerData
from semconv.peers.network import PeerNetwork
from semconv.peers.registry import NETWORKS
from semconv.peers.settings import Limits
from semconv.peers.training import PeerTraining
from semconv.runs.files import PEER_STATE
from tests.worlds.ring import SMALL, ring


@pytest.mark.parametrize("name", NETWORKS)
def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path, name: str) -> None:
    data = ring(num_users=10).for_training(10, 0)
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    settings = dataclasses.replace(SMALL, sampled_epochs=1, negatives=8)
    whole = PeerTraining(name, data, settings, tmp_path / "whole")
    whole.run(Limits(3, patience=9))
    for epochs in (1, 3):  # each training starts from the folder alone, as a new process would
        cut = PeerTraining(name, data, settings, tmp_path / "cut")
        cut.run(Limits(epochs, patience=9))
    for weight, value in whole.model.state_dict().items():
        assert torch.equal(value, cut.model.state_dict()[weight]), weight
    lines = [(tmp_path / folder / "epochs.jsonl").read_text().count("\n") for folder in ("whole", "cut")]
    assert lines == [3, 3]
    same = ("epochs", "samples", "best_epoch", "best_ndcg")
    assert [whole.figures()[figure] for figure in same] == [cut.figures()[figure] for figure in same]


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    data, found = ring(num_users=20).for_training(20, 0), []
    for seed in (0, 0, 1):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        training = PeerTraining("fmlp", data, dataclasses.replace(SMALL, seed=seed), folder)
        training.run(Limits(1))
        found.append(training.model.items.weight)
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_limit_on_samples_counts_labels(tmp_path: Path, name: str) -> None:
    training = PeerTraining(name, ring(num_users=40).for_training(10, 0), SMALL, tmp_path)
    training.run(Limits(100, samples=300, patience=100))
    step = SMALL.batch * (SMALL.history + 1)  # labels of a batch at most
    assert 300 <= training.counters.samples < 300 + step
    figures = training.figures()
    assert figures["epochs"] == len(training.counters.epochs) >= 1
    scores = [line["validation ndcg@10"] for line in training.counters.epochs]
    kept = max(number for number, score in enumerate(scores) if score >= 0.995 * max(scores))
    assert (figures["best_epoch"], figures["best_ndcg"]) == (kept + 1, scores[kept])
    assert figures["processor_seconds"] > 0


def test_the_latest_of_equally_good_epochs_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, seen = [0.2, 0.3, 0.2986, 0.298], []

    def measured(model: PeerNetwork, *_: object) -> np.ndarray:
        seen.append(model.items.weight.detach().clone())
        return np.array([1])

    monkeypatch.setattr(peer_training, "exact_ranks", measured)
    monkeypatch.setattr(peer_training, "ndcg", lambda *_: np.array(scores[len(seen) - 1]))
    training = PeerTraining("sasrec", ring(num_users=20).for_training(20, 0), SMALL, tmp_path)
    training.run(Limits(9, patience=2))
    figures = training.figures()
    assert (figures["epochs"], figures["best_epoch"], figures["best_ndcg"]) == (4, 3, 0.2986)
    assert torch.equal(training.best_model().items.weight, seen[2])


def test_an_epoch_of_sasrec_has_a_sample_for_each_item_with_a_history(tmp_path: Path) -> None:
    data = ring(num_users=20)
    training = PeerTraining("sasrec", data.for_training(20, 0), SMALL, tmp_path)
    training.run(Limits(1))
    assert training.counters.samples == int((data.train.lengths - 1).sum())


def test_without_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    data = ring(num_users=20)
    training = PeerTraining("sasrec", PeerData(data.train, 30), SMALL, tmp_path)
    training.run(Limits(2, patience=1))
    assert training.figures()["best_epoch"] == 2
    assert training.figures()["best_ndcg"] is None
    assert torch.equal(training.best_model().items.weight, training.model.items.weight)


def test_ranks_and_lists_are_written(tmp_path: Path) -> None:
    data = ring(num_users=20)
    training = PeerTraining("sasrec", data.for_training(20, 0), SMALL, tmp_path)
    training.run(Limits(2))
    export(training, data, top_k=5)
    ranks = pq.read_table(tmp_path / "ranks-test.parquet")
    best = pq.read_table(tmp_path / "lists-test.parquet").to_pylist()
    target = {f"u{user}": f"i{items[-1]}" for user in range(20) if len(items := data.sequences.of(user))}
    listed = {(row["user_id"], row["rank"]): row["item_id"] for row in best}
    assert ranks.num_rows == 20
    for row in ranks.to_pylist():
        assert (listed.get((row["user_id"], row[METHOD])) == target[row["user_id"]]) == (1 <= row[METHOD] <= 5)


def test_a_folder_with_other_settings_is_refused(tmp_path: Path) -> None:
    data = ring(num_users=10).for_training(10, 0)
    PeerTraining("sasrec", data, SMALL, tmp_path).run(Limits(1))
    with pytest.raises(InputError, match="other settings"):
        PeerTraining("sasrec", data, dataclasses.replace(SMALL, dropout=0.5), tmp_path)
    with pytest.raises(InputError, match="other settings"):
        PeerTraining("fmlp", data, SMALL, tmp_path)


@pytest.mark.parametrize("kept", [0, 300, -1])
def test_a_damaged_state_is_named(tmp_path: Path, kept: int) -> None:
    data = ring(num_users=10).for_training(10, 0)
    PeerTraining("sasrec", data, SMALL, tmp_path).run(Limits(1))
    state = tmp_path / PEER_STATE
    state.write_bytes(state.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"{PEER_STATE}: damaged .* delete the file to restart"):
        PeerTraining("sasrec", data, SMALL, tmp_path)


def test_validation_users_are_a_fixed_sample() -> None:
    data = ring(num_users=40)
    first, second = (data.for_training(10, seed).validation for seed in (0, 1))
    assert len(first) == len(second) == 10
    again = data.for_training(10, 0).validation
    assert np.array_equal(first.targets, again.targets)
