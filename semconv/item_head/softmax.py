"""The cross entropy of the next item among all items, or among a sample of them, without a large table of scores.

The scores of n positions and J items are computed in blocks of positions. Each block gives its part of the loss and of the
gradients at once, so that no block is computed twice and no more than one is in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from semconv.item_head.sampler import Choice

_BLOCK_SCORES: Final = 1 << 22  # scores of one block; about the size of a processor's cache


@dataclass(frozen=True)
class Labels:
    """The labels of n positions.

    Attributes:
        items: ``(n,)`` item index of the next item.
        weights: ``(n,)`` factor of each cross entropy; None: all are 1.
    """

    items: Tensor
    weights: Tensor | None = None


@dataclass(frozen=True)
class Popularity:
    """What the popularity of items at the moments of a batch adds to the scores of n positions.

    Attributes:
        weights: ``(n, 4)`` weight of each of the four numbers.
        features: ``(M, 4, I)`` of ``popularity.MomentTable``.
        moments: ``(n,)`` row of ``features`` for each position.
    """

    weights: Tensor
    features: Tensor
    moments: Tensor


@dataclass(frozen=True)
class Successors:
    """What the successors of the latest items add to the scores of n positions.

    Attributes:
        weights: ``(n, K)`` weight of the successors of each latest item.
        lengths: ``(n,)`` number of entries of each position.
        kinds: ``(z,)`` index of the latest item of each entry, below K.
        items: ``(z,)`` item index of the successor.
        values: ``(z,)`` the number that is multiplied by the weight.
        num_items: number I of items.
    """

    weights: Tensor
    lengths: Tensor
    kinds: Tensor
    items: Tensor
    values: Tensor
    num_items: int


@contextlib.contextmanager
def products_in(factors: Literal["float32", "bfloat16"]) -> Iterator[None]:
    """Open a block in which torch multiplies matrices with factors of the given format and adds up in float32.

    A processor without bfloat16 instructions uses float32 in both cases. The block must not hold an attention layer:
    with bfloat16, torch's attention kernel for processors takes 10 times as long.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if factors == "float32" else "medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def item_losses(
    hidden: Tensor,
    vectors: Tensor,
    labels: Labels,
    choice: Choice,
    popularity: Popularity | None = None,
    successors: Successors | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the sum of the cross entropies of n positions, and the cross entropy of each ``(n,)`` without gradient.

    Args:
        hidden: ``(n, D)``.
        vectors: ``(J, D)`` of the items of ``choice``.
        popularity: more scores, for the popularity of the items; None for none.
        successors: more scores, for the successors of the latest items; None for none.
    """
    none = hidden.new_zeros((len(hidden), 0))
    if popularity is None:
        popularity = Popularity(none, hidden.new_zeros((1, 0, 1)), torch.zeros_like(labels.items))
    entries = None if successors is None else _Entries.of(successors, choice)
    followed = none if successors is None else successors.weights
    given = _Given(choice, choice.columns(labels.items), labels.weights, popularity, entries)
    total, each = _ItemLosses.apply(hidden, vectors, popularity.weights, followed, given)  # type: ignore[no-untyped-call]
    return total, each


@dataclass(frozen=True)
class _Entries:
    """The entries of ``Successors`` as columns of the scores.

    Attributes:
        starts, lengths: ``(n,)`` first entry of each position, and their number.
        kinds: ``(z,)``.
        columns: ``(z,)`` column of each successor; 0 for an item that is not in the choice.
        values: ``(z,)``; 0 for an item that is not in the choice.
    """

    starts: Tensor
    lengths: Tensor
    kinds: Tensor
    columns: Tensor
    values: Tensor

    @classmethod
    def of(cls, successors: Successors, choice: Choice) -> _Entries:
        """Find the columns of the successors."""
        lengths = successors.lengths
        table = torch.full((successors.num_items,), -1, device=choice.items.device)  # many times as fast as a search
        table[choice.items] = torch.arange(len(choice.items), device=choice.items.device)
        columns = table[successors.items]
        values = successors.values * (columns >= 0)
        return cls(lengths.cumsum(0) - lengths, lengths, successors.kinds, columns.clamp(min=0), values)

    def of_rows(self, rows: Tensor, num_columns: int, num_kinds: int) -> _BlockEntries:
        """Return the entries of a block of positions, whose scores have ``num_columns`` columns."""
        lengths = self.lengths[rows]
        row = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), lengths)
        shift = self.starts[rows] - (lengths.cumsum(0) - lengths)
        index = shift[row] + torch.arange(len(row), device=rows.device)
        at, weight = row * num_columns + self.columns[index], row * num_kinds + self.kinds[index]
        return _BlockEntries(at, weight, self.values[index])


@dataclass(frozen=True)
class _BlockEntries:
    """The entries of one block of b positions.

    Attributes:
        at: index of each entry's score in the flattened ``(b, J)`` scores.
        weight: index of each entry's weight in the flattened ``(b, K)`` weights.
        values: the number that is multiplied by the weight.
    """

    at: Tensor
    weight: Tensor
    values: Tensor

    def add(self, scores: Tensor, weights: Tensor) -> None:
        """Add the entries to the scores ``(b, J)``."""
        scores.view(-1).index_add_(0, self.at, self.values * weights.flatten()[self.weight])

    def gradient(self, differences: Tensor, weights: Tensor) -> Tensor:
        """Return the gradient of the weights ``(b, K)`` for gradients of the scores ``(b, J)``."""
        of_weights = weights.new_zeros(weights.numel())
        return of_weights.index_add_(0, self.weight, differences.view(-1)[self.at] * self.values).view_as(weights)


@dataclass(frozen=True)
class _Given:
    """What the losses depend on and no gradient flows to.

    Attributes:
        columns: ``(n,)`` column of each label among the items of ``choice``.
        factors: ``(n,)`` factor of each cross entropy; None: all are 1.
        popularity: its numbers and moments; its weights are an argument of their own.
    """

    choice: Choice
    columns: Tensor
    factors: Tensor | None
    popularity: Popularity
    entries: _Entries | None


class _ItemLosses(torch.autograd.Function):
    """The losses and, in the same pass, their gradients for hidden states, item vectors and both kinds of weights."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        vectors: Tensor,
        weights: Tensor,
        followed: Tensor,
        given: _Given,
    ) -> tuple[Tensor, Tensor]:
        """Compute the losses; ``item_losses`` describes the arguments."""
        choice, columns, popularity, entries = given.choice, given.columns, given.popularity, given.entries
        with torch.autocast(hidden.device.type, enabled=False):
            hidden, vectors, weights, followed = (part.float() for part in (hidden, vectors, weights, followed))
            of_hidden, of_vectors, of_weights, of_followed = (
                torch.zeros_like(part) for part in (hidden, vectors, weights, followed)
            )
            losses = hidden.new_empty(len(hidden))
            order = popularity.moments.argsort(stable=True)  # so that a block has few different moments
            size = max(1, _BLOCK_SCORES // max(1, len(vectors)))
            # New memory for every block would take longer than its arithmetic.
            memory = [hidden.new_empty((min(size, len(order)), len(vectors))) for _ in range(2)]
            for rows in torch.split(order, size):
                numbers = _numbers(popularity, choice, rows)
                scores, differences = (part[: len(rows)] for part in memory)  # (b, J)
                torch.mm(hidden[rows], vectors.t(), out=scores)
                for part, table in numbers:
                    scores[part].addmm_(weights[rows[part]], table)
                block = None if entries is None else entries.of_rows(rows, len(vectors), followed.shape[1])
                if block is not None:
                    block.add(scores, followed[rows])
                losses[rows] = _differences(scores, columns[rows], choice, differences)
                if given.factors is not None:
                    losses[rows] *= given.factors[rows]
                    differences.mul_(given.factors[rows][:, None])
                of_hidden[rows] = differences @ vectors
                of_vectors.addmm_(differences.t(), hidden[rows])
                for part, table in numbers:
                    of_weights[rows[part]] = differences[part] @ table.t()
                if block is not None:
                    of_followed[rows] = block.gradient(differences, followed[rows])
        ctx.save_for_backward(of_hidden, of_vectors, of_weights, of_followed)
        ctx.mark_non_differentiable(losses)
        return losses.sum(), losses

    @staticmethod
    def backward(ctx: Any, total: Tensor, _each: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the gradients that ``forward`` computed."""
        gradients = [part * total for part in ctx.saved_tensors]
        return *gradients, None


def _numbers(popularity: Popularity, choice: Choice, rows: Tensor) -> list[tuple[slice, Tensor]]:
    """Return the popularity numbers ``(4, J)`` of each moment in a block of positions, with the positions it is for."""
    if not popularity.features.shape[1]:
        return []
    found, start = [], 0
    moments, counts = torch.unique_consecutive(popularity.moments[rows], return_counts=True)
    for moment, count in zip(moments.tolist(), counts.tolist(), strict=True):
        found.append((slice(start, start + count), popularity.features[moment][:, choice.items]))
        start += count
    return found


def _differences(scores: Tensor, columns: Tensor, choice: Choice, differences: Tensor) -> Tensor:
    """Return the cross entropy of each row ``(b,)``, and write the gradients of the scores to ``differences`` ``(b, J)``.

    ``scores`` ``(b, J)`` may be changed.
    """
    at = columns[:, None]
    if choice.offsets is not None:
        label = scores.gather(1, at)
        scores += choice.offsets
        scores.scatter_(1, at, label)
    torch.softmax(scores, dim=1, out=differences)
    probabilities = differences.gather(1, at).squeeze(1)
    losses = -probabilities.log()
    is_lost = probabilities < torch.finfo(torch.float32).tiny  # its logarithm would be infinite or inexact
    if is_lost.any():
        lost = scores[is_lost]
        losses[is_lost] = lost.logsumexp(dim=1) - lost.gather(1, at[is_lost]).squeeze(1)
    differences.scatter_add_(1, at, torch.full_like(losses, -1.0)[:, None])
    return losses
