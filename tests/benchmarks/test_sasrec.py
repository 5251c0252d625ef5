"""SASRec: its loss and ranks equal plain ones, it learns a certain pattern, and it resumes exactly."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from benchmarks.peers.sasrec import FullSoftmax, RankingTask, Sasrec, SasrecSettings, exact_ranks, loss_of
from benchmarks.peers.sasrec_training import METHOD, PeerData, SasrecTraining, export, windows
from semconv.data.splits import train_part
from semconv.data.store import Sequences
from semconv.errors import InputError

SMALL = SasrecSettings(width=16, heads=1, dropout=0.1, learning_rate=1e-2, batch=32, history=6)


def sequences(rows: list[list[int]]) -> Sequences:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    items = np.array([item for row in rows for item in row], dtype=np.int32)
    unknown = np.full(len(items), np.nan, dtype=np.float32)
    return Sequences([f"u{n}" for n in range(len(rows))], offsets, items, np.zeros(len(items), dtype=np.int64), unknown)


def ring(num_users: int = 120, num_items: int = 30) -> PeerData:
    """Make users that walk round a ring of items, each from another start, so that the next item is certain."""
    rng = np.random.default_rng(0)
    rows = [((rng.integers(num_items) + np.arange(rng.integers(5, 12))) % num_items).tolist() for _ in range(num_users)]
    whole = sequences(rows)
    train = train_part(whole, "[:-2]", 1, num_items)
    return PeerData("ring", whole, train, [f"i{n}" for n in range(num_items)], np.ones(num_items, dtype=bool))


def test_full_softmax_is_cross_entropy_with_its_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(600, 8, dtype=torch.float64, generator=generator).mul_(30).requires_grad_()  # large logits too
    items = torch.randn(40, 8, dtype=torch.float64, generator=generator).requires_grad_()
    targets = torch.randint(40, (600,), generator=generator)
    ours, plain = FullSoftmax.apply(states, items, targets), functional.cross_entropy(states @ items.T, targets)
    torch.testing.assert_close(ours, plain)
    weights = (states, items)
    torch.testing.assert_close(torch.autograd.grad(3 * ours, weights), torch.autograd.grad(3 * plain, weights))


def test_sampled_loss_compares_the_target_with_the_drawn_items_except_itself() -> None:
    model = Sasrec(10, SMALL).eval()
    inputs, targets = torch.tensor([[-1, 3, 4]]), torch.tensor([[3, 4, 5]])
    found = loss_of(model, inputs, targets, torch.tensor([4, 7, 7]))
    scores = model(inputs)[0] @ model.items.weight.T  # (L, I)
    expected = [  # 4 follows 3 and is among the drawn items; 5 follows 4
        functional.cross_entropy(scores[1, [4, 7, 7]], torch.tensor(0)),
        functional.cross_entropy(scores[2, [5, 4, 7, 7]], torch.tensor(0)),
    ]
    torch.testing.assert_close(found, torch.stack(expected).mean())


def test_every_item_except_the_first_is_the_target_of_one_position() -> None:
    found = windows(sequences([list(range(8)), [9], [5, 6]]), length=3)
    assert found.tolist() == [[4, 5, 6, 7], [1, 2, 3, 4], [-1, -1, 0, 1], [-1, -1, 5, 6]]
    with pytest.raises(InputError, match="two items"):
        windows(sequences([[1], []]), length=3)


def test_padding_changes_no_state() -> None:
    model = Sasrec(10, SMALL).eval()
    alone, padded = torch.tensor([[3, 4]]), torch.tensor([[-1, -1, 3, 4]])
    torch.testing.assert_close(model(alone)[0], model(padded)[0, 2:])


def test_ranks_are_exact_under_mask_and_filter() -> None:
    num_items = 25
    model, rng = Sasrec(num_items, SMALL), np.random.default_rng(0)
    with torch.no_grad():
        model.items.weight[7] = model.items.weight[8]  # equal scores: the smaller item_index first
    histories = [rng.choice(num_items, 4, replace=False).astype(np.int32) for _ in range(300)]
    targets = rng.integers(num_items, size=300).astype(np.int32)
    allowed = np.ones(num_items, dtype=bool)
    allowed[3] = False
    found = exact_ranks(model, RankingTask(histories, targets, allowed), SMALL)
    for history, target, rank in zip(histories, targets, found, strict=True):
        state = model(torch.from_numpy(history).long()[None])[0, -1]
        scores = (state @ model.items.weight.T).detach().numpy().round(6)
        left = [item for item in range(num_items) if allowed[item] and item not in history]
        order = sorted(left, key=lambda item: (-scores[item], item))
        assert rank == (order.index(target) + 1 if target in left else 0)


def test_a_certain_pattern_is_learnt_and_a_killed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    data = ring()
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    settings = SasrecSettings(**{**vars(SMALL), "sampled_epochs": 4, "negatives": 8})
    whole = SasrecTraining(data, settings, tmp_path / "whole")
    whole.run(epochs=12, patience=12)
    for epochs in (3, 7, 12):  # each training starts from the folder alone, as a new process would
        cut = SasrecTraining(data, settings, tmp_path / "cut")
        cut.run(epochs=epochs, patience=12)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, cut.model.state_dict()[name]), name
    lines = [(tmp_path / name / "epochs.jsonl").read_text().count("\n") for name in ("whole", "cut")]
    assert lines == [12, 12]
    figures = export(cut, top_k=5)
    assert figures["test"]["hr@1"] > 0.95
    ranks = pq.read_table(tmp_path / "cut" / "ranks-test.parquet")
    best = pq.read_table(tmp_path / "cut" / "lists-test.parquet").to_pylist()
    target = {f"u{user}": f"i{items[-1]}" for user in range(120) if len(items := data.sequences.of(user))}
    listed = {(row["user_id"], row["rank"]): row["item_id"] for row in best}
    for row in ranks.to_pylist():
        assert (listed.get((row["user_id"], row[METHOD])) == target[row["user_id"]]) == (1 <= row[METHOD] <= 5)


def test_a_folder_with_other_settings_is_refused(tmp_path: Path) -> None:
    data = ring(num_users=10)
    SasrecTraining(data, SMALL, tmp_path).run(epochs=1, patience=1)
    with pytest.raises(InputError, match="other settings"):
        SasrecTraining(data, SasrecSettings(**{**vars(SMALL), "dropout": 0.5}), tmp_path)
