"""The loss of the peers: cross-entropy of each label over all items, or over the label and some drawn items."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from semconv.peers.network import PeerNetwork

_ROWS_AT_ONCE = 256  # rows of the softmax computed at once: 17 MB for a catalogue of 17,000 items


class FullSoftmax(torch.autograd.Function):
    """Mean cross-entropy of states over all items, computed a few rows at a time.

    The forward pass computes the gradient too, so that the probabilities need not be kept.
    """

    @staticmethod
    def forward(context: Any, states: Tensor, items: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of ``states`` ``(n, D)``, ``items`` ``(I, D)`` and ``targets`` ``(n,)`` of item_index."""
        states_gradient, items_gradient = torch.empty_like(states), torch.zeros_like(items)
        total = states.new_zeros(())
        # One buffer for all blocks: fresh memory would cost more.
        buffer = states.new_empty(min(_ROWS_AT_ONCE, len(states)), len(items))
        for start in range(0, len(states), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            mine, wanted = states[rows], targets[rows, None]
            logits = torch.mm(mine, items.T, out=buffer[: len(mine)])  # (rows, I)
            chosen = logits.gather(1, wanted)
            top = logits.amax(dim=1, keepdim=True)
            mass = logits.sub_(top).exp_().sum(dim=1, keepdim=True)
            total += (mass.log() + top - chosen).sum()
            probabilities = logits.div_(mass)
            probabilities.scatter_add_(1, wanted, torch.full_like(chosen, -1.0))
            torch.mm(probabilities, items, out=states_gradient[rows])
            items_gradient.addmm_(probabilities.T, mine)
        context.save_for_backward(states_gradient, items_gradient)
        context.count = len(states)
        return total / len(states)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Return the gradients of states and items."""
        states_gradient, items_gradient = context.saved_tensors
        scale = gradients[0] / context.count
        return states_gradient * scale, items_gradient * scale, None


def loss_of(model: PeerNetwork, inputs: Tensor, targets: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy over all positions with a label.

    Args:
        inputs: ``(B, L)`` item_index, -1 before the start.
        targets: ``(B, L)`` item_index of the label at each position, -1 where there is none.
        negatives: ``(m,)`` drawn items that compete with the label; None means all items.
    """
    has_label = targets >= 0
    states, wanted = model(inputs)[has_label], targets[has_label]  # (n, D), (n,)
    vectors = model.item_vectors()
    if negatives is None:
        loss: Tensor = FullSoftmax.apply(states, vectors, wanted)  # type: ignore[no-untyped-call]
        return loss
    own = (states * vectors[wanted]).sum(dim=1, keepdim=True)  # (n, 1)
    others = states @ vectors[negatives].T  # (n, m)
    others = others.masked_fill(negatives[None, :] == wanted[:, None], float("-inf"))
    return functional.cross_entropy(torch.cat([own, others], dim=1), torch.zeros_like(wanted))
