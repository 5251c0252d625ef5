"""Dates and text vectors of SASRec: the numbers that it reads, its vectors, its training and its limits."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from semconv.data.calendar import Calendar, gaps_before
from semconv.errors import InputError, SettingsError
from semconv.peers.data import PeerData, RankingTask
from semconv.peers.inputs import SideInputs
from semconv.peers.ranking import best_items, exact_ranks
from semconv.peers.registry import make_network
from semconv.peers.sasrec import Sasrec
from semconv.peers.settings import Limits
from semconv.peers.training import PeerTraining, read_windows
from tests.worlds.ring import SMALL, ring

DAY = 86_400_000_000  # microseconds
NOTHING = SideInputs(Calendar(0, 0), np.zeros((30, 0), np.float32))


def dated(num_users: int = 20) -> tuple[PeerData, SideInputs]:
    data = ring(num_users=num_users).for_training(num_users, 0)
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.integers(0, 90, len(data.train.items))) * DAY
    side = SideInputs(Calendar.of(times // DAY), rng.normal(size=(30, 4)).astype(np.float32))
    train = dataclasses.replace(data.train, times=times)
    task = data.validation
    assert task is not None
    numbers = [side.numbers(row, np.arange(len(row)) * 50 * DAY, np.array([0, len(row)])) for row in task.histories]
    return PeerData(train, 30, dataclasses.replace(task, numbers=numbers), side), side


def test_numbers_name_items_periods_and_gaps() -> None:
    items, offsets = np.array([4, 29, 0, 7], np.int32), np.array([0, 3, 4])
    days = np.array([10, 200, 200, 75])
    side = SideInputs(Calendar.of(days), np.zeros((30, 0), np.float32))
    numbers = side.numbers(items, days * DAY, offsets)
    found = [part.tolist() for part in side.parts(torch.from_numpy(numbers))]
    gaps = gaps_before(days, offsets).tolist()
    assert found == [items.tolist(), [1, 4, 4, 2], gaps]
    assert gaps[0] == gaps[3] == 0  # the first event of a sequence has no gap
    assert NOTHING.numbers(items, days * DAY, offsets).tolist() == items.tolist()


def test_windows_hold_the_items_of_plain_windows() -> None:
    data, side = dated()
    network = Sasrec(30, SMALL, side)
    plain = network.windows(data.train, SMALL.history)
    windows = torch.from_numpy(read_windows(network, data, SMALL.history))
    assert ((windows >= 0).numpy() == (plain >= 0)).all()
    assert (side.parts(windows)[0].numpy()[plain >= 0] == plain[plain >= 0]).all()
    inputs, labels = network.examples(windows, np.random.default_rng(0))
    of_items = Sasrec(30, SMALL).examples(torch.from_numpy(plain).long(), np.random.default_rng(0))
    assert torch.equal(labels, of_items[1])
    assert int(inputs.max()) >= 30


def test_nothing_to_read_gives_the_plain_network() -> None:
    plain, other = Sasrec(30, SMALL).eval(), Sasrec(30, SMALL, NOTHING).eval()
    histories = torch.tensor([[-1, 3, 4], [7, 8, 9]])
    assert torch.equal(plain(histories), other(histories))
    assert torch.equal(plain.item_vectors(), other.item_vectors())


def test_texts_change_inputs_and_outputs_and_dates_the_inputs() -> None:
    _, side = dated()
    network, plain = Sasrec(30, SMALL, side).eval(), Sasrec(30, SMALL).eval()
    torch.testing.assert_close(network.item_vectors(), plain.items.weight + torch.from_numpy(side.texts) @ network.text)
    items = np.array([3, 4], np.int32)
    early, late = (
        torch.from_numpy(side.numbers(items, np.array(days) * DAY, np.array([0, 2])))[None]
        for days in ([0, 1], [0, 400])
    )
    assert torch.equal(network(early), network(late))  # the rows of dates start from 0
    with torch.no_grad():
        network.gaps.normal_(generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(network(early)[:, 1], network(late)[:, 1])
    torch.testing.assert_close(network(early)[:, 0], network(late)[:, 0])


@pytest.mark.parametrize("name", ["bert4rec", "fmlp"])
def test_other_peers_read_items_only(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} reads items only; sasrec alone can read dates and text vectors"):
        make_network(name, 30, SMALL, NOTHING)


def test_a_killed_training_with_dates_resumes_exactly_and_refuses_other_inputs(tmp_path: Path) -> None:
    data, _ = dated()
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    whole = PeerTraining("sasrec", data, SMALL, tmp_path / "whole")
    whole.run(Limits(2, patience=9))
    for epochs in (1, 2):
        cut = PeerTraining("sasrec", data, SMALL, tmp_path / "cut")
        cut.run(Limits(epochs, patience=9))
    for weight, value in whole.model.state_dict().items():
        assert torch.equal(value, cut.model.state_dict()[weight]), weight
    assert any(float(whole.model.state_dict()[name].abs().max()) > 0 for name in ("periods", "gaps"))
    assert "texts" not in whole.best_model().state_dict()  # they are read again, not stored
    with pytest.raises(InputError, match="other settings"):
        PeerTraining("sasrec", dataclasses.replace(data, side=None), SMALL, tmp_path / "cut")


def test_a_training_ends_at_its_processor_time(tmp_path: Path) -> None:
    training = PeerTraining("sasrec", ring(num_users=40).for_training(10, 0), SMALL, tmp_path)
    training.run(Limits(1000, patience=1000, processor_seconds=0.05))
    assert training.counters.processor_seconds >= 0.05
    lines = training.counters.epochs
    assert sum(line["processor seconds"] for line in lines[:-1]) <= 0.05 + 0.1 * len(lines)  # rounded to tenths
    assert training.figures()["best_epoch"] >= 1
    before = training.counters.epoch
    training.run(Limits(1000, patience=1000, processor_seconds=0.05))
    assert training.counters.epoch == before


def test_lists_leave_out_the_seen_items_and_not_the_history(tmp_path: Path) -> None:
    network = Sasrec(5, SMALL)
    histories = [np.array([0, 1], np.int32), np.array([2], np.int32)]
    allowed = np.ones(5, bool)
    plain = RankingTask(histories, np.array([0, 3], np.int32), allowed)
    seen = dataclasses.replace(plain, seen=[np.array([4], np.int32), np.array([2, 3, 3], np.int32)])
    assert [sorted(row) for row in best_items(network, plain, 5).tolist()] == [[-1, -1, 2, 3, 4], [-1, 0, 1, 3, 4]]
    assert [sorted(row) for row in best_items(network, seen, 5).tolist()] == [[-1, 0, 1, 2, 3], [-1, -1, 0, 1, 4]]
    assert exact_ranks(network, plain)[0] == 0
    assert exact_ranks(network, seen)[0] > 0
    assert exact_ranks(network, seen)[1] == 0


def test_histories_read_as_numbers_give_the_states_of_the_dates() -> None:
    _, side = dated()
    network = Sasrec(30, SMALL, side).eval()
    with torch.no_grad():
        network.periods.normal_(generator=torch.Generator().manual_seed(0))
    items, times, offsets = np.array([5, 6], np.int32), np.array([0, 300]) * DAY, np.array([0, 2])
    task = RankingTask(
        [items], np.array([7], np.int32), np.ones(30, bool), numbers=[side.numbers(items, times, offsets)]
    )
    alone = network.last_states(torch.from_numpy(task.numbers[0])[None]) @ network.item_vectors().T
    best = best_items(network, task, 1)[0, 0]
    expected = alone[0].clone()
    expected[[5, 6]] = -torch.inf
    assert best == int(expected.argmax())
