"""The loss over existing codes, and the search that scores the same way."""

from __future__ import annotations

import numpy as np
import torch

from semconv.tuning.choices import CodeChoices

CODES = np.array([[0, 0], [0, 2], [1, 1]])  # three items, codes of three
TOKENS = np.array([[10, 11, 12], [20, 21, 22]])


def states_and_matrix() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 4, generator=generator), torch.randn(30, 4, generator=generator)


def test_loss_equals_a_softmax_over_what_exists() -> None:
    states, matrix = states_and_matrix()
    labels = torch.tensor([[10, 22], [11, 21]])
    loss = CodeChoices(TOKENS, CODES).loss(states, matrix, labels)
    logits = torch.einsum("nld,vd->nlv", states, matrix)
    first = [torch.log_softmax(logits[row, 0, [10, 11]], 0)[code] for row, code in ((0, 0), (1, 1))]
    second = torch.log_softmax(logits[0, 1, [20, 22]], 0)[1]  # after code 0 exist 0 and 2; after code 1 only 1
    expected = -(first[0] + first[1] + second) / 4
    torch.testing.assert_close(loss, expected)


def test_what_does_not_exist_gets_no_gradient() -> None:
    states, matrix = states_and_matrix()
    matrix.requires_grad_(True)
    CodeChoices(TOKENS, CODES).loss(states, matrix, torch.tensor([[10, 22], [11, 21]])).backward()
    touched = set(matrix.grad.abs().sum(dim=1).nonzero().flatten().tolist())
    assert touched == {10, 11, 20, 22}


def test_order_of_items_does_not_matter() -> None:
    states, matrix = states_and_matrix()
    labels = torch.tensor([[10, 20], [11, 21]])
    torch.testing.assert_close(
        CodeChoices(TOKENS, CODES).loss(states, matrix, labels),
        CodeChoices(TOKENS, CODES[::-1]).loss(states, matrix, labels),
    )
