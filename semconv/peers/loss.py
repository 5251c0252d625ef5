"""The loss of the peers: cross-entropy of each label over all items, or over the label and some drawn items."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from semconv.item_head.sampler import Choice
from semconv.item_head.softmax import Labels, item_losses
from semconv.peers.network import PeerNetwork


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
        everything = Choice(torch.arange(len(vectors)), None)
        return item_losses(states, vectors, Labels(wanted), everything)[0] / len(wanted)
    own = (states * vectors[wanted]).sum(dim=1, keepdim=True)  # (n, 1)
    others = states @ vectors[negatives].T  # (n, m)
    others = others.masked_fill(negatives[None, :] == wanted[:, None], float("-inf"))
    return functional.cross_entropy(torch.cat([own, others], dim=1), torch.zeros_like(wanted))
