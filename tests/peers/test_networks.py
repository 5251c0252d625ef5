"""The networks of the peers: training examples, states of batches and of single histories, and the layers by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from semconv.errors import InputError, SettingsError
from semconv.peers.bert4rec import Bert4rec
from semconv.peers.data import overlapping_windows, prefix_windows, right_aligned
from semconv.peers.fmlp import Fmlp
from semconv.peers.registry import NETWORKS, make_network
from semconv.peers.sasrec import Sasrec
from tests.worlds.ring import SMALL
from tests.worlds.sequences import sequences_of


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_every_item_except_the_first_is_the_label_of_one_position() -> None:
    found = overlapping_windows(sequences_of([list(range(8)), [9], [5, 6]]), length=3)
    assert found.tolist() == [[4, 5, 6, 7], [1, 2, 3, 4], [-1, -1, 0, 1], [-1, -1, 5, 6]]
    inputs, labels = Sasrec(10, SMALL).examples(torch.from_numpy(found).long(), rng())
    assert inputs.tolist() == [[4, 5, 6], [1, 2, 3], [-1, -1, 0], [-1, -1, 5]]
    assert labels.tolist() == [[5, 6, 7], [2, 3, 4], [-1, -1, 1], [-1, -1, 6]]


def test_every_item_with_a_history_is_the_label_of_one_window_of_fmlp() -> None:
    found = prefix_windows(sequences_of([list(range(5)), [9], [5, 6]]), length=3)
    assert found.tolist() == [[-1, -1, 0, 1], [-1, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [-1, -1, 5, 6]]
    inputs, labels = Fmlp(10, SMALL).examples(torch.from_numpy(found).long(), rng())
    assert inputs.tolist() == found[:, :-1].tolist()
    assert labels[:, :-1].unique().tolist() == [-1]
    assert labels[:, -1].tolist() == [1, 2, 3, 4, 6]


@pytest.mark.parametrize("name", NETWORKS)
def test_sequences_without_a_successor_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no training sequence has two items"):
        make_network(name, 10, SMALL).windows(sequences_of([[1], []]), 3)


def test_bert4rec_predicts_the_items_that_it_masked() -> None:
    model = Bert4rec(40, SMALL)
    windows = torch.from_numpy(right_aligned([np.arange(n, n + length, dtype=np.int32) for n in range(30) for length in (2, 5, 7)], 7)).long()  # fmt: skip
    inputs, labels = model.examples(windows, rng())
    is_masked = labels >= 0
    assert (inputs[is_masked] == 40).all()
    assert (labels[is_masked] == windows[is_masked]).all()
    assert (inputs[~is_masked] == windows[~is_masked]).all()
    assert (is_masked.sum(dim=1) >= 1).all()
    assert not (is_masked & (windows < 0)).any()
    only_last = is_masked[:, -1] & (is_masked.sum(dim=1) == 1)
    assert 0.2 < only_last.float().mean() < 0.7
    lengths = (windows >= 0).sum(dim=1).numpy()
    assert is_masked.sum() == pytest.approx(model.labels_of(lengths).sum(), rel=0.25)


def test_the_mask_token_follows_a_history_that_is_ranked() -> None:
    model = Bert4rec(10, SMALL).eval()
    asked = torch.tensor([[1, 2, 3, 4, 5, 6, 10]])
    torch.testing.assert_close(model.last_states(torch.tensor([[0, 1, 2, 3, 4, 5, 6]])), model(asked)[:, -1])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_gives_the_states_of_single_histories(name: str) -> None:
    model = make_network(name, 30, SMALL).eval()
    histories = [np.arange(start, start + length, dtype=np.int32) for start, length in ((0, 6), (3, 1), (9, 4), (2, 9))]
    together = model.last_states(torch.from_numpy(right_aligned(histories, SMALL.history)).long())
    for row, history in enumerate(histories):
        alone = model.last_states(torch.from_numpy(history[-SMALL.history :]).long()[None])
        torch.testing.assert_close(alone[0], together[row])


def test_sasrec_sees_only_earlier_items_and_bert4rec_both_sides() -> None:
    first, second = torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 4]])
    sasrec, bert4rec = Sasrec(10, SMALL).eval(), Bert4rec(10, SMALL).eval()
    torch.testing.assert_close(sasrec(first)[:, :2], sasrec(second)[:, :2])
    assert not torch.allclose(bert4rec(first)[:, :2], bert4rec(second)[:, :2])


def test_the_filter_multiplies_each_frequency() -> None:
    model = Fmlp(10, SMALL).eval()
    block, hidden = model.blocks[0], torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))
    weights = block.filter.detach().numpy()
    by_hand = np.fft.irfft(
        np.fft.rfft(hidden.numpy(), axis=1) * (weights[..., 0] + 1j * weights[..., 1]), n=6, axis=1
    ).astype(np.float32)
    filtered = functional.layer_norm(hidden + torch.from_numpy(by_hand), (16,))
    expected = functional.layer_norm(filtered + block.mlp(filtered), (16,))
    torch.testing.assert_close(block(hidden), expected, atol=1e-5, rtol=1e-5)


def test_an_unknown_peer_is_refused() -> None:
    with pytest.raises(SettingsError, match="there is no peer p5; give one of sasrec, bert4rec, fmlp"):
        make_network("p5", 10, SMALL)
