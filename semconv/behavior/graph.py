"""The interaction graph of the train cut as sparse matrices, and two products over its edges.

An edge is a pair of a user and an item with an interaction. The edges are stored twice, ordered by user and ordered by
item. ``dots`` computes the dot product of the user's and the item's vector for every edge. ``sums`` adds up the
vectors of all neighbours of each user or item, weighted by a value for each edge. The derivative of ``dots`` is
computed with ``sums``, and the derivative of ``sums`` with ``dots``. So memory never holds one vector for each edge.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semconv.behavior.vectors import require_trainable
from semconv.data.store import Sequences
from semconv.ragged import offsets_of, row_of


@dataclass(frozen=True)
class InteractionGraph:
    """A graph with one edge for each pair of a user and an item with an interaction, ordered by user and by item."""

    user_index: NDArray[np.int32]  # (V,) users with an edge, ascending
    item_index: NDArray[np.int32]  # (M,) items with an edge, ascending
    user_starts: Tensor  # (V + 1,) first edge of each user
    item_of_edge: Tensor  # (E,) item of each edge, as an index into item_index
    item_starts: Tensor  # (M + 1,) first edge of each item, in the order of items
    user_of_edge: Tensor  # (E,) user of each edge, in the order of items, as an index into user_index
    by_item: Tensor  # (E,) the edges in the order of items
    weights: NDArray[np.float64] | None = None  # (E,) highest weight of a pair's interactions; None: all weigh 1

    @classmethod
    def build(cls, sequences: Sequences, num_items: int) -> InteractionGraph:
        """Build the graph of ``sequences``, the train part alone. Repeated interactions of a pair give one edge.

        Raises:
            InputError: there is no interaction, or an item_index lies outside the catalogue.
        """
        require_trainable(sequences, num_items)
        users = row_of(sequences.lengths)
        pairs, edge = np.unique(np.stack([users, sequences.items], axis=1), axis=0, return_inverse=True)  # (E, 2)
        weights = None
        if sequences.weights is not None:
            weights = np.zeros(len(pairs))
            np.maximum.at(weights, edge.ravel(), sequences.weights)
        user_index, rows = np.unique(pairs[:, 0], return_inverse=True)
        item_index, columns = np.unique(pairs[:, 1], return_inverse=True)
        by_item = np.argsort(columns, kind="stable")
        _silence_beta_warning()
        return cls(
            user_index.astype(np.int32),
            item_index.astype(np.int32),
            _starts(rows, len(user_index)),
            torch.from_numpy(columns.astype(np.int32)),
            _starts(columns, len(item_index)),
            torch.from_numpy(rows[by_item].astype(np.int32)),
            torch.from_numpy(by_item),
            weights,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of users and of items, ``(V, M)``."""
        return len(self.user_index), len(self.item_index)

    @property
    def num_edges(self) -> int:
        """Number E of distinct interactions."""
        return len(self.item_of_edge)

    def to(self, device: torch.device) -> InteractionGraph:
        """Return the graph with its tensors on ``device``."""
        names = ("user_starts", "item_of_edge", "item_starts", "user_of_edge", "by_item")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def degree_values(self) -> Tensor:
        """Return 1 / sqrt(degree of the user x degree of the item) for each edge, ``(E,)``."""
        users, items = torch.diff(self.user_starts).float(), torch.diff(self.item_starts).float()
        user_rows = torch.repeat_interleave(torch.arange(len(users), device=users.device), users.long())
        return (users[user_rows] * items[self.item_of_edge.long()]).rsqrt()

    def sums(self, values: Tensor, rows: Tensor, *, of_items: bool) -> Tensor:
        """Return for each user or for each item the sum of its neighbours' rows, weighted by the values of the edges.

        Args:
            values: ``(E,)`` a value for each edge.
            rows: ``(M, D)`` rows of the items, or ``(V, D)`` rows of the users.
            of_items: True: ``rows`` belong to items, and the sums to users; False: the other way round.

        Returns:
            ``(V, D)`` for users, or ``(M, D)`` for items.
        """
        if of_items:
            starts, ends, shape = self.user_starts, self.item_of_edge, self.shape
        else:
            starts, ends, shape = self.item_starts, self.user_of_edge, self.shape[::-1]
            values = values[self.by_item]
        return torch.sparse_csr_tensor(starts, ends, values, shape, check_invariants=False) @ rows

    def dots(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the dot product of the user's and the item's vector for each edge, ``(E,)``."""
        pattern = torch.sparse_csr_tensor(
            self.user_starts,
            self.item_of_edge,
            torch.zeros(self.num_edges, dtype=users.dtype, device=users.device),
            self.shape,
            check_invariants=False,
        )
        products: Tensor = torch.sparse.sampled_addmm(pattern, users.contiguous(), items.t(), beta=0.0).values()
        return products


class EdgeDots(torch.autograd.Function):
    """``InteractionGraph.dots`` with derivatives."""

    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, graph: InteractionGraph) -> Tensor:
        """Return the dot products ``(E,)`` of all edges from user vectors ``(V, D)`` and item vectors ``(M, D)``."""
        ctx.save_for_backward(users, items)
        ctx.graph = graph
        return graph.dots(users, items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradients with respect to the user vectors and the item vectors."""
        users, items = ctx.saved_tensors
        values = gradients[0]
        return ctx.graph.sums(values, items, of_items=True), ctx.graph.sums(values, users, of_items=False), None


class EdgeSums(torch.autograd.Function):
    """``InteractionGraph.sums`` with derivatives."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, graph: InteractionGraph, of_items: bool) -> Tensor:
        """Return sums of item rows ``(M, D)`` for the users ``(V, D)``, or sums of user rows for the items."""
        ctx.save_for_backward(values, rows)
        ctx.graph, ctx.of_items = graph, of_items
        return graph.sums(values, rows, of_items=of_items)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradients with respect to the edge values, if needed, and to the rows."""
        values, rows = ctx.saved_tensors
        of_sums = gradients[0].contiguous()
        of_values = None
        if ctx.needs_input_grad[0]:
            users, items = (of_sums, rows) if ctx.of_items else (rows, of_sums)
            of_values = ctx.graph.dots(users, items)
        return of_values, ctx.graph.sums(values, of_sums, of_items=not ctx.of_items), None, None


def _starts(rows: NDArray[np.int64], count: int) -> Tensor:
    return torch.from_numpy(offsets_of(np.bincount(rows, minlength=count)).astype(np.int32))


def _silence_beta_warning() -> None:
    """Trigger torch's one-time warning that sparse CSR tensors are in beta, and ignore it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), (1, 1))
