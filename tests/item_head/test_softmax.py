"""The loss over items equals PyTorch's cross entropy, and a sampled loss is right on average."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from semconv.item_head import softmax
from semconv.item_head.sampler import Choice, ItemSampler
from semconv.item_head.softmax import Labels, Popularity, item_losses

CANDIDATES = np.array([1, 2, 4, 5, 7, 8, 10, 11])
NUM_ITEMS, WIDTH, POSITIONS = 12, 6, 40


def numbers(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(POSITIONS, WIDTH, generator=generator, requires_grad=True)
    vectors = torch.randn(len(CANDIDATES), WIDTH, generator=generator, requires_grad=True)
    weights = torch.randn(POSITIONS, 4, generator=generator, requires_grad=True)
    labels = torch.from_numpy(np.random.default_rng(seed).choice(CANDIDATES, POSITIONS))
    return hidden, vectors, weights, labels


def gradients(*tensors: torch.Tensor) -> list[torch.Tensor]:
    found = []
    for tensor in tensors:
        assert tensor.grad is not None
        found.append(tensor.grad.clone())
        tensor.grad = None
    return found


@pytest.mark.parametrize(("block", "size"), [(1, 1.0), (100, 1.0), (10_000, 1.0), (100, 50.0)])  # large scores too
def test_losses_and_gradients_are_those_of_a_table_of_all_scores(
    block: int, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(softmax, "_BLOCK_SCORES", block)
    hidden, vectors, weights, labels = numbers()
    with torch.no_grad():
        hidden.mul_(size)
    features, moments = torch.randn(3, 4, NUM_ITEMS), torch.arange(POSITIONS) % 3
    choice = ItemSampler(CANDIDATES, np.ones(len(CANDIDATES)), 0).draw(labels)
    total, each = item_losses(hidden, vectors, Labels(labels), choice, Popularity(weights, features, moments))
    (0.5 * total).backward()
    found = gradients(hidden, vectors, weights)

    of_items = features[moments][:, :, torch.from_numpy(CANDIDATES)]  # (n, 4, J)
    scores = hidden @ vectors.t() + torch.einsum("nf,nfj->nj", weights, of_items)
    expected = cross_entropy(scores, torch.searchsorted(torch.from_numpy(CANDIDATES), labels), reduction="none")
    (0.5 * expected.sum()).backward()
    torch.testing.assert_close(each, expected.detach())
    torch.testing.assert_close(total, expected.sum())
    for ours, theirs in zip(found, gradients(hidden, vectors, weights), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_sample_as_large_as_the_candidates_is_the_full_softmax() -> None:
    *_, labels = numbers()
    choice = ItemSampler(CANDIDATES, np.ones(len(CANDIDATES)), len(CANDIDATES)).draw(labels)
    assert choice.items.tolist() == CANDIDATES.tolist()
    assert choice.offsets is None


def test_a_sample_holds_every_label_and_estimates_the_full_sum() -> None:
    hidden, vectors, _, labels = numbers()
    at = torch.searchsorted(torch.from_numpy(CANDIDATES), labels)
    counts = np.arange(1, len(CANDIDATES) + 1)
    sampler, sums = ItemSampler(CANDIDATES, counts, 4), torch.zeros(POSITIONS)
    torch.manual_seed(0)
    draws = 2000
    for _ in range(draws):
        choice = sampler.draw(labels)
        assert set(labels.tolist()) <= set(choice.items.tolist())
        rows = torch.searchsorted(torch.from_numpy(CANDIDATES), choice.items)
        _, each = item_losses(hidden.detach(), vectors.detach()[rows], Labels(labels), choice)
        sums += (each + (hidden * vectors[at]).sum(dim=1)).detach().exp()
    expected = (hidden @ vectors.t()).logsumexp(dim=1).exp().detach()
    ratio = sums / draws / expected
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.02)


def test_an_item_that_was_not_drawn_competes_with_no_other_label() -> None:
    hidden, vectors = torch.ones(2, 1), torch.tensor([[1.0], [2.0]])
    choice = Choice(torch.tensor([3, 5]), torch.tensor([0.0, -torch.inf]))
    _, each = item_losses(hidden, vectors, Labels(torch.tensor([3, 5])), choice)
    # Item 3 was drawn, item 5 is only in the choice as a label: it competes with item 3, but item 3 not with it.
    assert each.tolist() == pytest.approx([0.0, float(np.log1p(np.exp(-1.0)))], abs=1e-6)


def test_a_loss_and_its_gradient_are_multiplied_by_the_weight() -> None:
    hidden, vectors, weights, labels = numbers()
    choice = ItemSampler(CANDIDATES, np.ones(len(CANDIDATES)), 0).draw(labels)
    factors = torch.arange(POSITIONS) % 3 + 0.5
    features = torch.randn(3, 4, NUM_ITEMS)
    popularity = Popularity(weights, features, torch.arange(POSITIONS) % 3)
    total, each = item_losses(hidden, vectors, Labels(labels, factors), choice, popularity)
    total.backward()
    found = gradients(hidden, vectors, weights)
    plain = [
        item_losses(
            hidden[[row]],
            vectors,
            Labels(labels[[row]]),
            choice,
            Popularity(weights[[row]], features, torch.tensor([row % 3])),
        )[0]
        for row in range(POSITIONS)
    ]
    expected = torch.stack(plain) * factors
    expected.sum().backward()
    torch.testing.assert_close(each, expected.detach())
    for ours, theirs in zip(found, gradients(hidden, vectors, weights), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
