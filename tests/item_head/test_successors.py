"""Counts of successors: what is counted, what a label may know of them, and the loss and lists that use them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from semconv.artifacts import read_arrays, write_arrays
from semconv.data.calendar import Calendar
from semconv.errors import InputError
from semconv.item_head import softmax
from semconv.item_head.epoch import LabelSuccessors
from semconv.item_head.files import ItemFile
from semconv.item_head.parts import ItemParts, PartsShape
from semconv.item_head.sampler import ItemSampler
from semconv.item_head.sequences import DatedSequences
from semconv.item_head.softmax import Labels, Popularity, Successors, item_losses
from semconv.item_head.successors import SuccessorNumbers, SuccessorTable, latest_items
from semconv.item_head.texts import TextBasis
from semconv.ragged import offsets_of, row_of
from semconv.runs.files import ITEM_PARTS

NUM_ITEMS = 7
NO_DATES = Calendar(0, 0)


def dated(lengths: list[int], items: list[int], weights: list[float] | None = None) -> DatedSequences:
    times = np.full(len(items), np.iinfo(np.int64).min)
    given = None if weights is None else np.array(weights)
    return DatedSequences.of(offsets_of(lengths), np.array(items, dtype=np.int32), times, NO_DATES, given)


def table_of(numbers: SuccessorNumbers, num_latest: int) -> np.ndarray:
    """Return the numbers as a table ``(n, K, I)``."""
    table = np.zeros((len(numbers.lengths), num_latest, NUM_ITEMS))
    table[row_of(numbers.lengths), numbers.kinds, numbers.items] = numbers.values
    return table


def test_counts_fall_with_the_distance_and_reverse_pairs_count_less() -> None:
    table = SuccessorTable.count(dated([3, 2], [0, 1, 2, 0, 1]), NUM_ITEMS)
    after_0 = {1: 2.0, 2: 2**-0.6}
    numbers = table.numbers(np.array([[0], [1], [2], [5], [-1]]))
    assert numbers.lengths.tolist() == [2, 2, 2, 0, 0]
    first = table_of(numbers, 1)[0, 0]
    for item, count in after_0.items():
        assert first[item] == pytest.approx(np.log1p(50 * count / (sum(after_0.values()) + 100)), rel=1e-6)
    after_1 = {0: 2 * 0.7, 2: 1.0}
    assert table_of(numbers, 1)[1, 0, 0] == pytest.approx(np.log1p(50 * 1.4 / (sum(after_1.values()) + 100)), rel=1e-6)


def test_the_most_frequent_successors_are_kept_and_the_sum_is_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semconv.item_head.successors._KEPT", 1)
    table = SuccessorTable.count(dated([2, 2, 2], [0, 1, 0, 1, 0, 2]), NUM_ITEMS)
    first = table_of(table.numbers(np.array([[0]])), 1)[0, 0]
    assert np.flatnonzero(first).tolist() == [1]
    assert first[1] == pytest.approx(np.log1p(50 * 2 / 103), rel=1e-6)


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 3.0, 1.0, 1.0, 0.25, 1.0, 4.0, 1.0, 1.5, 1.0]])
def test_a_label_sees_the_counts_without_the_rest_of_its_sequence(weights: list[float] | None) -> None:
    lengths, items = [6, 6], [0, 1, 2, 0, 1, 3, 1, 1, 0, 2, 4, 0]  # few enough, so that no later row is left
    sequences = dated(lengths, items, weights)
    labels = LabelSuccessors.of(sequences, NUM_ITEMS, 3)
    for row in range(len(items)):
        user = int(row_of(np.array(lengths))[row])
        first, end = int(sequences.offsets[user]), int(sequences.offsets[user + 1])
        kept = np.ones(len(items), dtype=bool)
        kept[row:end] = False
        known = lengths.copy()
        known[user] = row - first
        cut = dated(
            known, np.array(items)[kept].tolist(), None if weights is None else np.array(weights)[kept].tolist()
        )
        latest = latest_items(sequences.items, np.array([first]), np.array([row]), 3)
        expected = table_of(SuccessorTable.count(cut, NUM_ITEMS).numbers(latest), 3)
        found = table_of(labels.numbers(np.array([row])), 3)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_numbers_of_many_labels_are_those_of_each() -> None:
    sequences = dated([7, 5], [0, 1, 2, 0, 1, 3, 1, 1, 0, 2, 4, 0])
    labels = LabelSuccessors.of(sequences, NUM_ITEMS, 2)
    rows = np.array([1, 4, 6, 8, 11])
    together = table_of(labels.numbers(rows), 2)
    for at, row in enumerate(rows):
        np.testing.assert_array_equal(together[at], table_of(labels.numbers(np.array([row])), 2)[0])
    assert together[0, 1].tolist() == [0.0] * NUM_ITEMS  # only one item lies before the second row


def test_without_latest_items_there_are_no_numbers() -> None:
    labels = LabelSuccessors.of(dated([3], [0, 1, 2]), NUM_ITEMS, 0)
    numbers = labels.numbers(np.array([1, 2]))
    assert (numbers.lengths.tolist(), len(numbers.values)) == ([0, 0], 0)


@pytest.mark.parametrize("block", [1, 60, 10_000])
@pytest.mark.parametrize("chosen", [[1, 2, 4, 5], [0, 1, 2, 3, 4, 5, 6]])
def test_loss_and_gradients_are_those_of_a_table_of_all_scores(
    block: int, chosen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmax, "_BLOCK_SCORES", block)
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    count, kinds = 20, 3
    hidden, vectors, weights, followed = (
        torch.randn(size, generator=generator, requires_grad=True)
        for size in ((count, 5), (len(chosen), 5), (count, 4), (count, kinds))
    )
    labels = torch.from_numpy(rng.choice(chosen, count))
    table = torch.from_numpy(rng.random((count, kinds, NUM_ITEMS)) * (rng.random((count, kinds, NUM_ITEMS)) < 0.4))
    at = torch.nonzero(table)
    entries = Successors(followed, (table > 0).sum(dim=(1, 2)), at[:, 1], at[:, 2], table[table > 0].float(), NUM_ITEMS)
    features, moments = torch.randn(3, 4, NUM_ITEMS, generator=generator), torch.arange(count) % 3
    choice = ItemSampler(np.array(chosen), np.ones(len(chosen)), 0).draw(labels)
    factors = torch.arange(count) % 2 + 0.5
    total, _ = item_losses(
        hidden, vectors, Labels(labels, factors), choice, Popularity(weights, features, moments), entries
    )
    total.backward()
    tensors = (hidden, vectors, weights, followed)
    found = [tensor.grad.clone() for tensor in tensors if tensor.grad is not None]
    for tensor in tensors:
        tensor.grad = None

    scores = hidden @ vectors.t() + torch.einsum("nf,nfj->nj", weights, features[moments][:, :, chosen])
    scores = scores + torch.einsum("nk,nkj->nj", followed, table.float()[:, :, chosen])
    each = cross_entropy(scores, torch.searchsorted(torch.tensor(chosen), labels), reduction="none")
    (each * factors).sum().backward()
    torch.testing.assert_close(total, (each * factors).sum())
    assert len(found) == len(tensors)
    for ours, tensor in zip(found, tensors, strict=True):
        assert tensor.grad is not None
        torch.testing.assert_close(ours, tensor.grad, rtol=1e-4, atol=1e-5)


def test_a_model_that_was_tuned_for_other_counts_is_refused(tmp_path: Path) -> None:
    shape = PartsShape(NUM_ITEMS, width=4, text_width=0, num_periods=0, num_latest=2)
    counts = np.ones(NUM_ITEMS, dtype=np.int64)
    parts = ItemParts(
        shape, np.zeros((NUM_ITEMS, 4), dtype=np.int64), np.zeros((NUM_ITEMS, 0), dtype=np.float32), counts, 0
    )
    ItemFile.of(parts, counts, NO_DATES, TextBasis.of(np.zeros((0, 3), dtype=np.float32))).save(tmp_path)
    assert ItemFile.load(tmp_path).num_latest == 2
    arrays = read_arrays(tmp_path / ITEM_PARTS)
    kept = {name: array for name, array in arrays.items() if name != "successor_constants"}
    for name in ("missing", "other"):
        constants = {"successor_constants": arrays["successor_constants"] + 1} if name == "other" else {}
        write_arrays(tmp_path / ITEM_PARTS, {**kept, **constants})
        with pytest.raises(InputError, match="counts successors in another way; tune again with `semconv finetune`"):
            ItemFile.load(tmp_path)
    write_arrays(tmp_path / ITEM_PARTS, {name: array for name, array in arrays.items() if name != "successor_factor"})
    with pytest.raises(InputError, match="'successor_factor' is missing; tune again with `semconv finetune`"):
        ItemFile.load(tmp_path)
