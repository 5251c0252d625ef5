"""The loss of the peers equals torch's own, and ranks equal those of a sorted list."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from semconv.peers.data import RankingTask
from semconv.peers.loss import loss_of
from semconv.peers.ranking import best_items, exact_ranks
from semconv.peers.registry import NETWORKS, make_network
from semconv.peers.sasrec import Sasrec
from tests.worlds.ring import SMALL


@pytest.mark.parametrize("name", NETWORKS)
def test_the_loss_is_cross_entropy_over_all_items_at_the_labels(name: str) -> None:
    model = make_network(name, 10, SMALL).eval()
    windows = torch.tensor([[-1, -1, -1, -1, 3, 4, 5], [1, 2, 3, 4, 5, 6, 7]])
    inputs, labels = model.examples(windows, np.random.default_rng(0))
    states = model(inputs)
    vectors = (
        torch.cat([model.items.weight[:10], model.bias[:, None]], dim=1) if name == "bert4rec" else model.items.weight
    )
    losses = [
        functional.cross_entropy(states[row, column] @ vectors.T, labels[row, column])
        for row, column in torch.nonzero(labels >= 0).tolist()
    ]
    torch.testing.assert_close(loss_of(model, inputs, labels), torch.stack(losses).mean())


def test_sampled_loss_compares_the_label_with_the_drawn_items_except_itself() -> None:
    model = Sasrec(10, SMALL).eval()
    inputs, labels = torch.tensor([[-1, 3, 4]]), torch.tensor([[-1, 4, 5]])
    found = loss_of(model, inputs, labels, torch.tensor([4, 7, 7]))
    scores = model(inputs)[0] @ model.items.weight.T  # (L, I)
    expected = [  # 4 follows 3 and is among the drawn items; 5 follows 4
        functional.cross_entropy(scores[1, [4, 7, 7]], torch.tensor(0)),
        functional.cross_entropy(scores[2, [5, 4, 7, 7]], torch.tensor(0)),
    ]
    torch.testing.assert_close(found, torch.stack(expected).mean())


@pytest.mark.parametrize("is_masked", [True, False])
def test_ranks_and_lists_are_exact_under_mask_and_filter(is_masked: bool) -> None:
    num_items = 25
    model, rng = Sasrec(num_items, SMALL), np.random.default_rng(0)
    with torch.no_grad():
        model.items.weight[7] = model.items.weight[8]  # equal scores: the smaller item_index first
    histories = [rng.choice(num_items, 4, replace=False).astype(np.int32) for _ in range(40)]
    targets = rng.integers(num_items, size=40).astype(np.int32)
    allowed = np.ones(num_items, dtype=bool)
    allowed[3] = False
    task = RankingTask(histories, targets, allowed, is_masked)
    found, lists = exact_ranks(model, task), best_items(model, task, 6)
    model.eval()
    for history, target, rank, best in zip(histories, targets, found, lists, strict=True):
        state = model(torch.from_numpy(history).long()[None])[0, -1]
        scores = (state @ model.items.weight.T).detach().numpy().round(6)
        left = [item for item in range(num_items) if allowed[item] and not (is_masked and item in history)]
        order = sorted(left, key=lambda item: (-scores[item], item))
        assert rank == (order.index(target) + 1 if target in left else 0)
        assert best.tolist() == order[:6]


def test_a_user_without_history_has_an_empty_list() -> None:
    histories = [np.zeros(0, dtype=np.int32), np.array([1], dtype=np.int32)]
    task = RankingTask(histories, np.array([2, 2], dtype=np.int32), np.ones(4, dtype=bool))
    assert (best_items(Sasrec(4, SMALL), task, 5) >= 0).sum(axis=1).tolist() == [0, 3]
