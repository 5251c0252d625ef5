"""SASRec (Kang & McAuley 2018) with the full softmax, a peer of the model: the network, its loss and exact ranks.

As in the paper it has causal self-attention over the latest items, learned positions, and item vectors that are both
input and output. Three things differ: the loss is the cross-entropy over all items instead of one drawn negative, which
makes SASRec much stronger; blocks normalise before each part; and positions count from the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_ROWS_AT_ONCE = 256  # rows of the softmax computed at once: 17 MB for a catalogue of 17,000 items


@dataclass(frozen=True)
class SasrecSettings:
    """The settings of a training."""

    width: int = 64
    blocks: int = 2
    heads: int = 2
    history: int = 20
    dropout: float = 0.3
    learning_rate: float = 1e-3
    batch: int = 128  # windows in a step
    negatives: int = 1024  # items drawn uniformly for each step of a sampled epoch
    sampled_epochs: int = 0  # first epochs whose loss compares the target with drawn items; others use all items
    validation_users: int = 10_000
    seed: int = 0


class Sasrec(nn.Module):
    """Item vectors, positions and blocks. ``forward`` returns the state after every item."""

    def __init__(self, num_items: int, settings: SasrecSettings) -> None:
        super().__init__()
        torch.manual_seed(settings.seed)
        width = settings.width
        self.items = nn.Embedding(num_items, width)
        self.positions = nn.Embedding(settings.history, width)  # the last row belongs to the latest item
        self.blocks = nn.ModuleList(_Block(settings) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(settings.dropout)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the states ``(B, L, D)`` of histories ``(B, L)`` of item_index, -1 before their start."""
        length, is_item = inputs.shape[1], inputs >= 0
        scale = self.items.embedding_dim**0.5
        hidden = self.items(inputs.clamp_min(0)) * scale + self.positions.weight[-length:]  # (B, L, D)
        hidden = self.dropout(hidden) * is_item[:, :, None]
        causal = torch.ones(length, length, dtype=torch.bool, device=inputs.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=inputs.device)  # so that every row has a key
        mask = causal & (is_item[:, None, :] | itself)  # (B, L, L)
        for block in self.blocks:
            hidden = block(hidden, mask[:, None])
        states: Tensor = self.norm(hidden)
        return states


class _Block(nn.Module):
    def __init__(self, settings: SasrecSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads, self.rate = settings.heads, settings.dropout
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.projection, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(settings.dropout), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = hidden.shape
        parts = self.projection(self.attention_norm(hidden)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, H, L, D / H) each
        mixed = functional.scaled_dot_product_attention(query, key, value, mask, self.rate if self.training else 0.0)
        hidden = hidden + self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, width)))
        return hidden + self.dropout(self.mlp(self.mlp_norm(hidden)))


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


def loss_of(model: Sasrec, inputs: Tensor, targets: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Return the mean cross-entropy over all positions with an input item.

    Args:
        inputs, targets: ``(B, L)`` item_index, -1 before the start.
        negatives: ``(m,)`` drawn items that compete with the target; None means all items.
    """
    has_input = inputs >= 0
    states, wanted = model(inputs)[has_input], targets[has_input]  # (n, D), (n,)
    if negatives is None:
        loss: Tensor = FullSoftmax.apply(states, model.items.weight, wanted)
        return loss
    own = (states * model.items(wanted)).sum(dim=1, keepdim=True)  # (n, 1)
    others = states @ model.items(negatives).T  # (n, m)
    others = others.masked_fill(negatives[None, :] == wanted[:, None], float("-inf"))
    return functional.cross_entropy(torch.cat([own, others], dim=1), torch.zeros_like(wanted))


@dataclass(frozen=True)
class RankingTask:
    """Users to rank items for."""

    histories: list[NDArray[np.int32]]  # n arrays of item_index, oldest first
    targets: NDArray[np.int32]  # (n,) held-out item_index
    allowed: NDArray[np.bool_]  # (I,) items that may be listed


def exact_ranks(model: Sasrec, task: RankingTask, settings: SasrecSettings) -> NDArray[np.int64]:
    """Return the rank of every target among all allowed items outside of its history, ``(n,)``.

    Ranks count from 1; 0 means that the target is not among these items. Equal scores are in the order of item_index.
    """
    ranks = np.zeros(len(task.targets), dtype=np.int64)
    earlier = torch.arange(len(task.allowed))
    for rows, scores in masked_scores(model, task, settings):
        wanted = torch.from_numpy(task.targets[rows]).long()[:, None]
        own = scores.gather(1, wanted)  # (rows, 1)
        better = (scores > own).sum(dim=1) + ((scores == own) & (earlier < wanted)).sum(dim=1)
        ranks[rows] = np.where(torch.isinf(own)[:, 0].numpy(), 0, better.numpy() + 1)
    return ranks


@torch.no_grad()
def masked_scores(model: Sasrec, task: RankingTask, settings: SasrecSettings) -> Iterator[tuple[slice, Tensor]]:
    """Yield log probabilities ``(rows, I)`` for blocks of users, minus infinity for items that may not be listed."""
    model.eval()
    forbidden = torch.from_numpy(np.flatnonzero(~task.allowed))
    for start in range(0, len(task.histories), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        histories = task.histories[rows]
        states = model(torch.from_numpy(right_aligned(histories, settings.history)).long())[:, -1]
        scores = functional.log_softmax(states @ model.items.weight.T, dim=1)
        lengths = [len(history) for history in histories]
        scores[np.repeat(np.arange(len(histories)), lengths), np.concatenate(histories).astype(np.int64)] = -torch.inf
        scores[:, forbidden] = -torch.inf
        yield rows, scores


def right_aligned(histories: list[NDArray[np.int32]], length: int) -> NDArray[np.int32]:
    """Return the latest ``length`` items of each history, ``(n, L)``, -1 before its start."""
    result = np.full((len(histories), length), -1, dtype=np.int32)
    for row, history in enumerate(histories):
        latest = history[-length:]
        result[row, length - len(latest) :] = latest
    return result
